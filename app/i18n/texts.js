// Texts in the page's language. The served file begins with `window.hyTexts`: the language and its texts.
(() => {
  const { language, texts } = window.hyTexts;
  const rules = new Intl.PluralRules(language);
  const filled = (text, values) => text.replace(/\{(\w+)\}/g, (place, name) => values[name] ?? place);

  // hyText('Vote for {name}', { name }): the text, with its values.
  window.hyText = (message, values = {}) => filled(texts[message] ?? message, values);

  // hyCount('{n} vote', '{n} votes', 3): the form that fits the number.
  window.hyCount = (one, many, number, values = {}) => {
    const forms = texts[one];
    const form = forms ? forms[rules.select(number)] ?? Object.values(forms).at(-1) : number === 1 ? one : many;
    return filled(form, { n: number.toLocaleString('en-US'), ...values });
  };

  // Gradio shows its own texts in the language of the browser, unless another was chosen by hand.
  if (!navigator.language.startsWith(language)) {
    Object.defineProperty(navigator, 'language', { get: () => language });
    Object.defineProperty(navigator, 'languages', { get: () => [language] });
  }
})();
