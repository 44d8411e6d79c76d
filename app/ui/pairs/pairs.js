// The checkboxes of the pairs. In scope: element, watch (see gr.HTML's js_on_load).
// The selection is kept in the tab by dataset, so ticks stay from page to page.
const query = new URLSearchParams(location.search);
const key = 'hy-pairs-' + query.get('dataset');
const picked = new Set((sessionStorage.getItem(key) || '').split(',').filter(Boolean));

const show = () => {
  for (const box of element.querySelectorAll('input[data-pair]')) box.checked = picked.has(box.dataset.pair);
};
const tell = () => {
  const field = document.querySelector('#pairs-chosen textarea, #pairs-chosen input');
  if (!field) return setTimeout(tell, 80);
  field.value = [...picked].join(',');
  field.dispatchEvent(new Event('input', { bubbles: true }));
};

element.addEventListener('change', (event) => {
  const pair = event.target.dataset?.pair;
  if (!pair) return;
  event.target.checked ? picked.add(pair) : picked.delete(pair);
  sessionStorage.setItem(key, [...picked].join(','));
  tell();
});
window.hyForgetPairs = () => {
  picked.clear();
  sessionStorage.removeItem(key);
  show();
  tell();
};
watch('value', show);
show();
if (picked.size) tell();
