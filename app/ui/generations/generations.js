// The checkboxes of the list of generations. In scope: element, watch (see gr.HTML's js_on_load).
const boxes = () => [...element.querySelectorAll('input[data-generation]')];
const tell = () => {
  const field = document.querySelector('#generations-chosen textarea, #generations-chosen input');
  if (!field) return setTimeout(tell, 80);
  field.value = boxes().filter((box) => box.checked).map((box) => box.dataset.generation).join(',');
  field.dispatchEvent(new Event('input', { bubbles: true }));
};

element.addEventListener('change', (event) => event.target.dataset?.generation && tell());
watch('value', tell);
tell();
