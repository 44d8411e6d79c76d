// Draws the figures of a chart panel. In scope: element, props, watch (see gr.HTML's js_on_load), pictures.js.
const grid = element.querySelector('.hy-charts');
const shown = new Map();

// What the reader chose: smoothing and axis for all charts of this browser, hidden runs for this page.
const HIDDEN = 'hy-hidden ' + location.pathname;
const kept = (store, key, otherwise) => {
  try { return JSON.parse(store().getItem(key)) ?? otherwise; } catch { return otherwise; } // may be forbidden
};
const keep = (store, key, value) => {
  try { store().setItem(key, JSON.stringify(value)); } catch { /* until the page is closed */ }
};
const browser = () => localStorage, tab = () => sessionStorage;
const found = kept(browser, 'hy-charts', {});
const chosen = { smoothing: Number(found.smoothing ?? 0.85), log: found.log === true };
if (!(chosen.smoothing >= 0 && chosen.smoothing <= 0.98)) chosen.smoothing = 0.85;
const hidden = new Set([kept(tab, HIDDEN, [])].flat().map(String));

// An exponential moving average, corrected for its bias towards zero at the start.
const smoothed = (values, weight) => {
  let mean = 0, mass = 0;
  return values.map((value) => {
    if (value === null) return null;
    mean = weight * mean + (1 - weight) * value;
    mass = weight * mass + 1 - weight;
    return mean / mass;
  });
};

// The traces that are drawn: without hidden runs, smoothed over a faint copy, above zero on a log axis.
const traces = (figure, log) => {
  let leftOut = 0;
  const above = (values) => values.map((value) => {
    if (value === null || value > 0) return value;
    leftOut += 1;
    return null;
  });
  const number = figure.percent ? '.1%' : '.4~g', unit = figure.unit ? ' ' + figure.unit : '';
  const drawn = figure.data.flatMap((trace) => {
    if (trace.type !== 'scatter') return [trace];
    const { meta, ...own } = trace;
    if (hidden.has(String(meta.run))) return [];
    const name = plain(own.name), raw = log ? above(own.y) : own.y;
    const hover = `%{y:${number}}${unit}`;
    if (meta.links) return [{ ...own, y: raw, name, customdata: meta.links, hovertemplate: `%{text}<br>${hover}` }];
    if (!meta.smooth || !chosen.smoothing) return [{ ...own, y: raw, name, hovertemplate: hover }];
    const measured = hyText('measured {value}', { value: `%{customdata:${number}}` });
    const y = smoothed(raw, chosen.smoothing);
    const faint = { ...own, y: raw, name, mode: 'lines', line: { ...own.line, width: 1, dash: 'solid' }, opacity: 0.28, hoverinfo: 'skip' };
    return [faint, { ...own, y, name, mode: 'lines', customdata: raw, hovertemplate: `${hover} (${measured})` }];
  });
  return [drawn, leftOut];
};

const axes = (figure, log) => {
  const layout = { ...figure.layout, xaxis: { ...figure.layout.xaxis } };
  const what = plain(figure.title) + (figure.unit ? ', ' + figure.unit : '');
  layout.xaxis.unifiedhovertitle = { text: `${what} · ${layout.xaxis.title.text} %{x}` };
  if (log) {
    const { range, ...yaxis } = layout.yaxis;
    layout.yaxis = { ...yaxis, type: 'log' };
    layout.uirevision += ' log';
  }
  return layout;
};

const card = (figure) => {
  const box = document.createElement('figure');
  box.className = 'hy-chart';
  box.innerHTML = '<figcaption><b></b><span></span></figcaption><div class="hy-plot"></div><p class="hy-none"></p>'
    + '<p class="hy-note hy-left-out"></p><p class="hy-files"><button type="button">PNG</button><a download>CSV</a></p>';
  box.querySelector('.hy-files button').addEventListener('click', () => picture(box));
  grid.append(box);
  new ResizeObserver(() => {
    const plot = box.querySelector('.hy-plot');
    if (plot.offsetWidth && plot.classList.contains('js-plotly-plot')) Plotly.Plots.resize(plot);
  }).observe(box);
  return box;
};

// A point that has an address is opened by a click: the samples of an evaluation.
const open = ({ points }) => {
  const to = points[0]?.customdata;
  if (typeof to === 'string') window.location.href = to;
};

const picture = (box) => {
  const plot = box.querySelector('.hy-plot');
  const data = plot.data.map((trace) => ({ ...trace, showlegend: trace.hoverinfo !== 'skip' }));
  downloadPicture({ data, layout: plot.layout, title: box.querySelector('b').textContent, file: box.dataset.file });
};

const fill = (figure, box) => {
  const title = figure.title;
  box.querySelector('b').textContent = title;
  box.querySelector('figcaption span').textContent = figure.note || '';
  const plot = box.querySelector('.hy-plot'), none = box.querySelector('.hy-none'), files = box.querySelector('.hy-files');
  const log = chosen.log && figure.data.some((trace) => trace.type === 'scatter');
  const [data, leftOut] = traces(figure, log);
  const empty = !figure.data.length;
  none.textContent = empty ? (figure.none || hyText('No points yet.')) : '';
  plot.hidden = files.hidden = empty;
  none.hidden = !empty;
  const [png, csv] = files.children;
  box.dataset.file = figure.file || figure.key;
  png.setAttribute('aria-label', hyText('Download {title} as PNG', { title }));
  csv.setAttribute('aria-label', hyText('Download {title} as CSV', { title }));
  csv.href = figure.csv || '';
  csv.hidden = !figure.csv;
  csv.download = box.dataset.file + '.csv';
  box.querySelector('.hy-left-out').textContent = !leftOut ? '' : hyCount(
    '{n} value is not above zero and left out of the logarithmic axis.',
    '{n} values are not above zero and left out of the logarithmic axis.', leftOut);
  if (empty) return;
  if (!window.Plotly) { plotly(grid.dataset.plotly).then(draw); return; }
  plot.setAttribute('role', 'group'); // role=img must not contain buttons
  plot.setAttribute('aria-label', hyText('Chart: {name}', { name: title }));
  const layout = axes(figure, log);
  const print = JSON.stringify([data, layout, document.body.className]);
  if (plot.dataset.print === print) return;
  plot.dataset.print = print;
  Plotly.react(plot, tinted(data), house(tinted(layout)), {
    displaylogo: false, responsive: true, displayModeBar: 'hover',
    modeBarButtonsToRemove: ['toImage', 'select2d', 'lasso2d', 'autoScale2d', 'zoomIn2d', 'zoomOut2d', 'pan2d'],
  });
  if (!plot.dataset.opens) plot.on('plotly_click', open);
  plot.dataset.opens = 'yes';
};

const draw = () => {
  const figures = props.value || [];
  const keys = new Set(figures.map((figure) => figure.key));
  for (const [key, box] of shown) if (!keys.has(key)) { box.remove(); shown.delete(key); }
  for (const [place, figure] of figures.entries()) {
    if (!shown.has(figure.key)) shown.set(figure.key, card(figure));
    const box = shown.get(figure.key);
    if (grid.children[place] !== box) grid.insertBefore(box, grid.children[place] || null);
    fill(figure, box);
  }
  const lines = figures.flatMap(({ data }) => data).filter(({ type }) => type === 'scatter');
  options.hidden = !lines.length; // both change nothing in histograms and bars
  slider.parentElement.hidden = !lines.some(({ meta }) => meta.smooth);
  press();
};

// The legend is another component, so its buttons are found in the page; a new legend is pressed again.
const press = () => {
  for (const button of document.querySelectorAll('[data-curve]')) {
    const state = String(!hidden.has(button.dataset.curve));
    if (button.getAttribute('aria-pressed') !== state) button.setAttribute('aria-pressed', state);
  }
};
document.addEventListener('click', (event) => {
  const curve = event.target.closest?.('[data-curve]')?.dataset.curve;
  if (!curve) return;
  hidden.has(curve) ? hidden.delete(curve) : hidden.add(curve);
  keep(tab, HIDDEN, [...hidden]);
  draw();
});
new MutationObserver(press).observe(document.body, { childList: true, subtree: true });

const options = element.querySelector('.hy-chart-options');
const slider = options.querySelector('[data-smoothing]'), box = options.querySelector('[data-log]');
const said = () => { options.querySelector('output').textContent = chosen.smoothing ? chosen.smoothing.toFixed(2) : hyText('off'); };
slider.value = chosen.smoothing;
box.checked = chosen.log;
said();
options.addEventListener('input', () => {
  chosen.smoothing = Number(slider.value);
  chosen.log = box.checked;
  keep(browser, 'hy-charts', chosen);
  said();
  draw();
});

new MutationObserver(draw).observe(document.body, { attributes: true, attributeFilter: ['class'] });
watch('value', draw);
draw();
