// The theme that the reader chose: light, dark, or the system's. It is kept for all pages of this browser.
// This script runs before the page is painted, so that the first paint has the right colours.
(() => {
  const KEY = 'hypo-theme';
  const NEXT = { system: 'light', light: 'dark', dark: 'system' };
  const NAMES = { system: hyText('system'), light: hyText('light'), dark: hyText('dark') };
  const DRAWN = {
    system: '<circle cx="12" cy="12" r="8"/><path d="M12 4a8 8 0 0 1 0 16z" fill="currentColor"/>',
    light: '<circle cx="12" cy="12" r="4"/><path d="M12 3v2M12 19v2M3 12h2M19 12h2M5.6 5.6l1.5 1.5M16.9 16.9l1.5 1.5M5.6 18.4l1.5-1.5M16.9 7.1l1.5-1.5"/>',
    dark: '<path d="M19.5 14.5A8 8 0 0 1 9.5 4.5a8 8 0 1 0 10 10z"/>',
  };
  const root = document.documentElement;
  const system = matchMedia('(prefers-color-scheme: dark)');

  const read = () => {
    let kept = null;
    try { kept = localStorage.getItem(KEY); } catch { /* storage may be forbidden */ }
    return Object.hasOwn(NEXT, kept ?? '') ? kept : 'system';
  };
  let chosen = read();
  const isDark = () => (chosen === 'system' ? system.matches : chosen === 'dark');

  // Gradio follows the system: it sets and removes this class, also after the page is loaded.
  const paint = () => { if (document.body) document.body.classList.toggle('dark', isDark()); };
  const keep = () => { if (chosen !== 'system') paint(); };

  // Before Gradio has loaded, the page has these variables in place of a theme.
  const paintBackground = () => {
    for (const name of ['--bg', '--col']) {
      root.style.removeProperty(name);
      root.style.removeProperty(name + '-dark');
      if (chosen === 'system') continue;
      const [from, to] = isDark() ? [name + '-dark', name] : [name, name + '-dark'];
      root.style.setProperty(to, getComputedStyle(root).getPropertyValue(from));
    }
  };

  const apply = () => { paintBackground(); paint(); show(); };
  const watchBody = () => {
    new MutationObserver(keep).observe(document.body, { attributes: true, attributeFilter: ['class'] });
    keep();
  };

  const button = document.createElement('button');
  button.type = 'button';
  button.className = 'hy-theme';
  const said = document.createElement('span');
  said.className = 'hy-sr';
  said.setAttribute('role', 'status');
  const nameOf = () => hyText('Theme: {name}', { name: NAMES[chosen] });
  const show = () => {
    button.innerHTML = `<svg viewBox="0 0 24 24" width="20" height="20" fill="none" stroke="currentColor" stroke-width="1.8" stroke-linecap="round" aria-hidden="true">${DRAWN[chosen]}</svg>`;
    button.setAttribute('aria-label', hyText('{theme}. Change to {next}', { theme: nameOf(), next: NAMES[NEXT[chosen]] }));
    button.title = nameOf();
  };
  button.addEventListener('click', () => {
    chosen = NEXT[chosen];
    try { localStorage.setItem(KEY, chosen); } catch { /* chosen for this page only */ }
    apply();
    said.textContent = nameOf();
  });

  window.addEventListener('storage', (event) => {
    if (event.key !== KEY && event.key !== null) return;
    chosen = read(); // another tab changed it
    apply();
  });

  // The end of the navigation holds what belongs to no page; the user's name follows the button.
  window.hyTools = new Promise((resolve) => {
    const look = () => {
      const nav = document.querySelector('.nav-holder nav');
      if (!nav) return setTimeout(look, 50);
      const tools = document.createElement('div');
      tools.className = 'hy-tools';
      tools.append(button, said);
      nav.append(tools);
      resolve(tools);
    };
    look();
  });

  paintBackground();
  show();
  if (document.body) watchBody();
  else new MutationObserver((_, observer) => {
    if (!document.body) return;
    observer.disconnect();
    watchBody();
  }).observe(root, { childList: true });
})();
