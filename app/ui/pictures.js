// Figures in the house's look, and as PNG files. In scope: what follows it, such as charts.js.
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
    height: layout.height ?? 230, margin: { l: 46, r: 14, t: 8, b: 38 },
    paper_bgcolor: 'rgba(0,0,0,0)', plot_bgcolor: 'rgba(0,0,0,0)', dragmode: 'zoom',
    font: { family: getComputedStyle(document.body).fontFamily, size: 12, color: text },
    hoverlabel: { bgcolor: token('chart-hover'), bordercolor: rule, font: { size: 12, color: token('chart-ink') } },
    ...layout, xaxis: axis(layout.xaxis), yaxis: axis(layout.yaxis),
  };
};

// Plotly reads names as markup.
const plain = (text) => String(text).replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;');

// Plotly is loaded once per page, when there is something to draw.
const plotly = (address) => window.hyPlotly ||= new Promise((ready) => {
  const script = document.createElement('script');
  script.src = address;
  script.onload = ready;
  script.onerror = () => { script.remove(); window.hyPlotly = null; };
  document.head.append(script);
});

// Download a figure whose colours and layout are those of a page.
const downloadPicture = ({ data, layout, title, file, height = 560, showlegend = true }) => {
  const whole = {
    ...layout, title: { text: plain(title), font: { size: 18 } }, width: 1000, height, autosize: false,
    margin: { l: 70, r: 30, t: 60, b: 60 }, paper_bgcolor: token('card'), plot_bgcolor: token('card'), showlegend,
  };
  Plotly.downloadImage({ data, layout: whole }, { format: 'png', width: 1000, height, scale: 2, filename: file });
};

// A button with a figure downloads it; the figure itself is drawn nowhere on the page.
element.addEventListener('click', async (event) => {
  const button = event.target.closest?.('[data-picture]');
  if (!button) return;
  const { data, layout, title, file, height } = JSON.parse(button.dataset.picture);
  if (!window.Plotly) await plotly(button.dataset.plotly);
  const yaxis = { ...layout.yaxis, ticktext: layout.yaxis.ticktext.map(plain) };
  const drawn = { data: tinted(data), layout: house({ ...tinted(layout), yaxis }) };
  downloadPicture({ ...drawn, title, file, height, showlegend: data.length > 1 });
});
