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

// Where an answer says so, go on to the next page.
let goesOn = false;
new MutationObserver((changes) => {
  if (!changes.some((change) => change.addedNodes.length)) return;
  const next = document.querySelector('[data-next]');
  if (!next || goesOn) return;
  goesOn = true; // a second time would abort the first
  window.location.href = next.dataset.next;
}).observe(document.documentElement, { childList: true, subtree: true });

// Who is logged in, and the way out, at the end of the navigation.
(function showUser() {
  const user = window.gradio_config?.username;
  if (!user || user === 'local') return;
  const nav = document.querySelector('.nav-holder nav');
  if (!nav) return setTimeout(showUser, 100);
  const form = document.createElement('form');
  form.method = 'post';
  form.action = 'logout';
  form.className = 'hy-user';
  const name = document.createElement('span');
  name.textContent = user;
  const leave = document.createElement('button');
  leave.textContent = 'Log out';
  form.append(name, leave);
  nav.append(form);
})();

// A session that ended shows in the first answer that is refused: load the page anew, which leads to the login.
const fetchAsBefore = window.fetch;
window.fetch = async (...request) => {
  const answer = await fetchAsBefore(...request);
  if (answer.status === 401) location.reload();
  return answer;
};
