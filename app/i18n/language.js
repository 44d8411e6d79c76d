// The button that changes the language. The choice is kept for all pages of this browser.
(() => {
  const { language, names, cookie } = window.hyTexts;
  const others = Object.keys(names).filter((code) => code !== language);
  const buttons = others.map((code) => {
    const button = document.createElement('button');
    button.type = 'button';
    button.className = 'hy-language';
    button.lang = code;
    button.textContent = code.toUpperCase();
    button.title = names[code];
    button.setAttribute('aria-label', names[code]);
    button.addEventListener('click', () => {
      document.cookie = `${cookie}=${code}; path=/; max-age=31536000; samesite=lax`;
      location.reload();
    });
    return button;
  });
  window.hyTools.then((tools) => tools.prepend(...buttons));
})();
