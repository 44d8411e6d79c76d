// Draws the figures of a chart panel. In scope: element, props, watch (see gr.HTML's js_on_load).
const grid = element.querySelector('.hy-charts');
const shown = new Map();

const token = (name) => getComputedStyle(document.body).getPropertyValue('--hy-' + name).trim() || '#888';
const tinted = (value) => {
  if (typeof value === 'string') return value.startsWith('@') ? token(value.slice(1)) : value;
  if (Array.isArray(value)) return typeof value[0] === 'number' ? value : value.map(tinted);
  if (value && typeof value === 'object')
    return Object.fromEntries(Object.entries(value).map(([k, v]) => [k, tinted(v)]));
  return value;
};

const house = (layout) => {
  const text = token('chart-text'), rule = token('chart-grid'), strong = token('chart-zero');
  const axis = (own) => ({
    gridcolor: rule, zerolinecolor: strong, linecolor: rule, tickcolor: rule, ticklen: 4, nticks: 6,
    tickfont: { size: 12, color: text }, ...own,
    title: { ...(own?.title || {}), font: { size: 12, color: text } },
  });
  return {
    height: 230, margin: { l: 46, r: 14, t: 8, b: 38 },
    paper_bgcolor: 'rgba(0,0,0,0)', plot_bgcolor: 'rgba(0,0,0,0)', dragmode: 'zoom',
    font: { family: getComputedStyle(document.body).fontFamily, size: 12, color: text },
    hoverlabel: { bgcolor: token('chart-hover'), bordercolor: rule, font: { size: 12, color: token('chart-ink') } },
    ...layout, xaxis: axis(layout.xaxis), yaxis: axis(layout.yaxis),
  };
};

const card = (figure) => {
  const box = document.createElement('figure');
  box.className = 'hy-chart';
  box.innerHTML = '<figcaption><b></b><span></span></figcaption><div class="hy-plot"></div><p class="hy-none"></p>';
  grid.append(box);
  new ResizeObserver(() => {
    const plot = box.querySelector('.hy-plot');
    if (plot.offsetWidth && plot.classList.contains('js-plotly-plot')) Plotly.Plots.resize(plot);
  }).observe(box);
  return box;
};

// Plotly is loaded once per page, when there is something to draw.
const plotly = () => window.hyPlotly ||= new Promise((ready) => {
  const script = document.createElement('script');
  script.src = grid.dataset.plotly;
  script.onload = ready;
  script.onerror = () => { script.remove(); window.hyPlotly = null; };
  document.head.append(script);
});

const draw = () => {
  const figures = props.value || [];
  const keys = new Set(figures.map((figure) => figure.key));
  for (const [key, box] of shown) if (!keys.has(key)) { box.remove(); shown.delete(key); }
  for (const [place, figure] of figures.entries()) {
    if (!shown.has(figure.key)) shown.set(figure.key, card(figure));
    const box = shown.get(figure.key);
    if (grid.children[place] !== box) grid.insertBefore(box, grid.children[place] || null);
    box.querySelector('b').textContent = figure.title;
    box.querySelector('figcaption span').textContent = figure.note || '';
    const plot = box.querySelector('.hy-plot'), none = box.querySelector('.hy-none');
    const empty = !figure.data.length;
    none.textContent = empty ? (figure.none || 'No points yet.') : '';
    plot.hidden = empty;
    none.hidden = !empty;
    if (empty) continue;
    if (!window.Plotly) { plotly().then(draw); continue; }
    plot.setAttribute('role', 'group'); // role=img must not contain buttons
    plot.setAttribute('aria-label', 'Chart: ' + figure.title);
    const print = JSON.stringify([figure.data, figure.layout, document.body.className]);
    if (plot.dataset.print === print) continue;
    plot.dataset.print = print;
    Plotly.react(plot, tinted(figure.data), house(tinted(figure.layout)), {
      displaylogo: false, responsive: true, displayModeBar: 'hover',
      modeBarButtonsToRemove: ['select2d', 'lasso2d', 'autoScale2d', 'zoomIn2d', 'zoomOut2d', 'pan2d'],
    });
  }
};

new MutationObserver(draw).observe(document.body, { attributes: true, attributeFilter: ['class'] });
watch('value', draw);
draw();
