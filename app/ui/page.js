// Shared by the pages' small scripts. It stands in the head of every page.

// Put values into the page's address without loading it: filters and choices live there, and can be shared.
window.hySetQuery = (values, push = false) => {
  const query = new URLSearchParams(location.search);
  for (const [key, value] of Object.entries(values)) value ? query.set(key, value) : query.delete(key);
  const text = query.toString().replaceAll('%2C', ',');
  history[push ? 'pushState' : 'replaceState'](null, '', location.pathname + (text ? '?' + text : ''));
};

// Back and forward between such addresses load the page anew, so that it shows what the address says.
window.addEventListener('popstate', () => location.reload());
