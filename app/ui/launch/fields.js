// The launch form's fields: fractions step by ratio, and invalid fields are marked.

// The script runs every time its element is rendered; it must be installed only once.
if (!window.hyNextRung) {
  // Fractions step along 1, 1.5, 2, 3, 5, 7, 10: from 0.0001 up to 0.00015 or down to 0.00007.
  const RUNGS = [1, 1.5, 2, 3, 5, 7];
  const SMALLEST = 1e-7, FIRST = 1e-4;
  window.hyNextRung = (value, up, fromZero) => {
    if (!(value > 0)) return up && fromZero ? FIRST : value;
    const power = Math.floor(Math.log10(value));
    const rungs = [-1, 0, 1].flatMap((more) => RUNGS.map((rung) => Number(`${rung}e${power + more}`)));
    const next = up
      ? rungs.find((rung) => rung > value * (1 + 1e-9))
      : rungs.findLast((rung) => rung < value * (1 - 1e-9));
    return next < SMALLEST ? (fromZero ? 0 : value) : next;
  };
  const plainNumber = (value) => String(value).replace(/e-0?/, 'e-');
  document.addEventListener('keydown', (event) => {
    const up = event.key === 'ArrowUp', input = event.target;
    if ((!up && event.key !== 'ArrowDown') || !input.matches?.('.hy-ratio input, .hy-ratio textarea')) return;
    const value = Number(input.value);
    if (input.value.trim() === '' || Number.isNaN(value)) return;
    event.preventDefault();
    const kind = input instanceof HTMLTextAreaElement ? HTMLTextAreaElement : HTMLInputElement;
    const next = window.hyNextRung(value, up, Boolean(input.closest('.hy-from-zero')));
    Object.getOwnPropertyDescriptor(kind.prototype, 'value').set.call(input, plainNumber(next));
    input.dispatchEvent(new Event('input', { bubbles: true }));
  });

  // Gradio's text box reports key presses, but not a paste, a deletion or a step.
  document.addEventListener('input', (event) => {
    if (event.target.matches?.('.hy-field input[type="text"][data-testid="textbox"]'))
      event.target.dispatchEvent(new KeyboardEvent('keypress', { key: 'Unidentified' }));
  });

  // Invalid fields get ARIA attributes, so that screen readers announce the message.
  const markFields = () => {
    for (const field of document.querySelectorAll('.hy-field')) {
      const message = field.querySelector('.hy-field-error');
      const inputs = field.querySelectorAll('[id^="field-"] :is(input, textarea, select)');
      if (message && !message.id) message.id = 'message-' + (inputs[0]?.closest('[id^="field-"]')?.id || 'field');
      for (const input of inputs) {
        if (message) {
          input.setAttribute('aria-invalid', 'true');
          input.setAttribute('aria-describedby', message.id);
        } else if (input.hasAttribute('aria-invalid')) {
          input.removeAttribute('aria-invalid');
          input.removeAttribute('aria-describedby');
        }
      }
    }
  };
  let marking = 0;
  const markSoon = () => { cancelAnimationFrame(marking); marking = requestAnimationFrame(markFields); };
  new MutationObserver(markSoon).observe(document.body, { childList: true, subtree: true });
}
