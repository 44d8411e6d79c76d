// The checkboxes of the runs table. In scope: element, watch (see gr.HTML's js_on_load).
// The selection is kept here by run, so a row keeps its tick when it moves.
const asked = new URLSearchParams(location.search).get('compare') || '';
const picked = new Set(asked.split(',').filter(Boolean));

const show = () => {
  for (const box of element.querySelectorAll('input[data-run]')) box.checked = picked.has(box.dataset.run);
};
const tell = () => {
  const field = document.querySelector('#runs-chosen textarea, #runs-chosen input');
  if (!field) return setTimeout(tell, 80);
  field.value = [...picked].join(',');
  field.dispatchEvent(new Event('input', { bubbles: true }));
};

element.addEventListener('change', (event) => {
  const run = event.target.dataset?.run;
  if (!run) return;
  event.target.checked ? picked.add(run) : picked.delete(run);
  tell();
});

// A column's head sorts the table by it. The new table has new buttons: the same one keeps the focus.
let focused = '';
const sort = (order) => {
  const field = document.querySelector('#runs-sort textarea, #runs-sort input');
  field.value = order;
  field.dispatchEvent(new Event('input', { bubbles: true }));
};
element.addEventListener('click', (event) => {
  const button = event.target.closest('[data-sort]');
  if (!button) return;
  focused = button.dataset.sort.replace('-', '');
  sort(button.dataset.sort);
});
element.addEventListener('change', (event) => {
  if ('sortList' in event.target.dataset) sort(event.target.value);
});
const refocus = () => {
  const lost = !document.activeElement || document.activeElement === document.body;
  if (focused && lost) element.querySelector(`[data-sort="${focused}"], [data-sort="-${focused}"]`)?.focus();
};
watch('value', () => { show(); refocus(); });
show();
