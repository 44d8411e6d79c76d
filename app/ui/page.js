// Shared by the pages' small scripts; included in the head of every page.

// Write filters and selections to the page's address without a reload, so that links can be shared.
window.hySetQuery = (values, push = false) => {
  const query = new URLSearchParams(location.search);
  for (const [key, value] of Object.entries(values)) value ? query.set(key, value) : query.delete(key);
  const text = query.toString().replaceAll('%2C', ',');
  history[push ? 'pushState' : 'replaceState'](null, '', location.pathname + (text ? '?' + text : ''));
};

// Back and forward between such addresses reload the page, so that it matches the address.
window.addEventListener('popstate', () => location.reload());

// Go to the next page when a response contains a data-next link.
let goesOn = false;
new MutationObserver((changes) => {
  if (!changes.some((change) => change.addedNodes.length)) return;
  const next = document.querySelector('[data-next]');
  if (!next || goesOn) return;
  goesOn = true; // a second navigation would abort the first
  window.location.href = next.dataset.next;
}).observe(document.documentElement, { childList: true, subtree: true });

// A button marks the place where answers part. The choice is kept for all pages of this browser.
const PARTING = 'hy-parting';
const partingIsShown = () => {
  try { return localStorage.getItem(PARTING) === '1'; } catch { return false; } // storage may be forbidden
};
const showParting = (shown) => {
  document.documentElement.classList.toggle('hy-parting-shown', shown);
  for (const button of document.querySelectorAll('[data-hy-parting]'))
    if (button.getAttribute('aria-pressed') !== String(shown)) button.setAttribute('aria-pressed', shown);
};
document.addEventListener('click', (event) => {
  if (!event.target.closest?.('[data-hy-parting]')) return;
  const shown = !document.documentElement.classList.contains('hy-parting-shown');
  try { localStorage.setItem(PARTING, shown ? '1' : '0'); } catch { /* shown on this page only */ }
  showParting(shown);
});
new MutationObserver(() => {
  const shown = document.documentElement.classList.contains('hy-parting-shown');
  if (shown && document.querySelector('[data-hy-parting][aria-pressed="false"]')) showParting(shown); // a new button
}).observe(document.documentElement, { childList: true, subtree: true });
showParting(partingIsShown());

// A drawing that scrolls opens at the thing that it is about.
const opened = new WeakSet();
new MutationObserver(() => {
  for (const mark of document.querySelectorAll('[data-hy-here]')) {
    const box = mark.closest('.hy-graph');
    if (!box || opened.has(mark) || !box.clientWidth) continue;
    opened.add(mark);
    const [at, around] = [mark.getBoundingClientRect(), box.getBoundingClientRect()];
    box.scrollLeft += at.left + at.width / 2 - around.left - around.width / 2;
    box.scrollTop += at.top + at.height / 2 - around.top - around.height / 2;
  }
}).observe(document.documentElement, { childList: true, subtree: true });

// Code that can only be read is scrolled by keyboard too.
new MutationObserver(() => {
  for (const box of document.querySelectorAll('.cm-scroller[tabindex="-1"]:has([contenteditable="false"])')) box.tabIndex = 0;
}).observe(document.documentElement, { childList: true, subtree: true });

// The title of the browser's tab: that of the page, or a shorter one that the page's header gives.
const showTitle = () => {
  const heading = document.querySelector('h1');
  const said = heading && (heading.dataset.tab || heading.textContent).trim();
  const title = said ? said + ' · HyPO Studio' : 'HyPO Studio';
  if (document.title !== title) document.title = title;
};
new MutationObserver(showTitle).observe(document.documentElement, { childList: true, subtree: true });

// On a phone the navigation scrolls: the page that is open is in view.
(async () => {
  await window.hyTools;
  const nav = document.querySelector('.nav-holder nav'), open = nav.querySelector('a.active');
  if (open) nav.scrollLeft = open.offsetLeft - (nav.clientWidth - nav.querySelector('.hy-tools').offsetWidth - open.offsetWidth) / 2;
})();

// The user's name and a logout button, at the end of the navigation.
(async () => {
  const user = window.gradio_config?.username;
  if (!user || user === 'local') return;
  const form = document.createElement('form');
  form.method = 'post';
  form.action = 'logout';
  form.className = 'hy-user';
  const name = document.createElement('span');
  name.textContent = user;
  const leave = document.createElement('button');
  leave.textContent = hyText('Log out');
  form.append(name, leave);
  (await window.hyTools).append(form);
})();

// A 401 means that the session expired: reload the page, which redirects to the login.
const fetchAsBefore = window.fetch;
window.fetch = async (...request) => {
  const answer = await fetchAsBefore(...request);
  if (answer.status === 401) location.reload();
  return answer;
};
