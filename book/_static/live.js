// Live figures: a native slider over finished runs. Theory is a line in the colour of the text,
// measurements are coloured points, each series with its own marker. Plotly is fetched from beside
// this file when a figure comes near; until it is there, and if it never comes, the picture stays.
(() => {
  "use strict";

  const address = new URL("plotly/plotly.min.js", document.currentScript.src).href;
  const DASHES = ["solid", "dash", "dot", "dashdot"];
  const MARKERS = [
    "circle", "square", "triangle-up", "diamond", "triangle-down", "cross", "x", "star",
  ];
  // Okabe and Ito's colours as in the pictures; lighter ones stand out on a dark page.
  const COLOURS = {
    light: [
      "#0072B2", "#D55E00", "#007A5A", "#B0588E", "#2C86BF", "#A66F00", "#6B6B6B", "#8C510A",
    ],
    dark: [
      "#56B4E9", "#FF9A4D", "#3DD6A9", "#F0A6D0", "#A9C8FF", "#F0D542", "#C0C0C0", "#DDA869",
    ],
  };
  const HEIGHT = 420;

  let plotly;
  const fetchPlotly = () => {
    plotly ??= new Promise((resolve, reject) => {
      const script = document.createElement("script");
      script.src = address;
      script.onload = () => (window.Plotly ? resolve(window.Plotly) : reject());
      script.onerror = reject;
      document.head.append(script);
    });
    return plotly;
  };

  const numbers = (text) => text.split(" ").filter(Boolean).map(Number);
  const isDark = () => document.documentElement.dataset.theme === "dark";

  // Equal labels are drawn alike and named once.
  const traces = (frame, ink) => {
    const labels = [...new Set(frame.theory.map((curve) => curve.label))];
    const theory = frame.theory.map((curve, index) => ({
      mode: "lines",
      name: curve.label,
      x: numbers(curve.x),
      y: numbers(curve.y),
      line: { color: ink, width: 2, dash: DASHES[labels.indexOf(curve.label) % DASHES.length] },
      legendgroup: curve.label,
      showlegend: frame.theory.findIndex((other) => other.label === curve.label) === index,
    }));
    const colours = COLOURS[isDark() ? "dark" : "light"];
    const measured = frame.measured.map((points, index) => {
      const colour = colours[index % colours.length];
      const y = numbers(points.y);
      const trace = {
        mode: "markers",
        name: points.label,
        x: numbers(points.x),
        y,
        marker: { color: colour, size: 8, symbol: MARKERS[index % MARKERS.length] },
      };
      if (points.low) {
        const high = numbers(points.high);
        const low = numbers(points.low);
        trace.error_y = {
          type: "data",
          symmetric: false,
          array: high.map((value, i) => value - y[i]),
          arrayminus: low.map((value, i) => y[i] - value),
          color: colour,
          thickness: 1.5,
          width: 0,
        };
      }
      return trace;
    });
    return [...measured, ...theory];
  };

  const axis = (given, ink, grid) => {
    const limits = numbers(given.limits);
    const ticks = numbers(given.ticks);
    return {
      title: { text: given.label, standoff: 8 },
      type: given.scale,
      range: given.scale === "log" ? limits.map(Math.log10) : limits,
      ...(ticks.length && { tickvals: ticks, ticktext: ticks.map(String) }),
      fixedrange: true,
      color: ink,
      gridcolor: grid,
      zerolinecolor: grid,
      automargin: true,
    };
  };

  const layout = (live, box) => {
    const style = getComputedStyle(box);
    const ink = style.color;
    const grid = isDark() ? "#48535f" : "#e0e0e0";
    return {
      autosize: true,
      height: HEIGHT,
      margin: { l: 10, r: 10, t: 10, b: 10 },
      paper_bgcolor: "rgba(0,0,0,0)",
      plot_bgcolor: "rgba(0,0,0,0)",
      font: { family: style.fontFamily, size: 14, color: ink },
      xaxis: axis(live.x, ink, grid),
      yaxis: axis(live.y, ink, grid),
      dragmode: false,
      showlegend: true,
      legend: { orientation: "h", x: 0, y: 1.02, yanchor: "bottom", itemclick: false,
        itemdoubleclick: false },
      hoverlabel: { namelength: -1 },
    };
  };

  const start = async (box) => {
    const live = JSON.parse(box.querySelector("script").textContent);
    const plot = box.querySelector(".lm-live-plot");
    const slider = box.querySelector("input");
    const choice = box.querySelector("select");
    const value = box.querySelector(".lm-live-value");
    const finding = box.querySelector(".lm-live-finding");
    const picture = box.closest("figure").querySelector("img");

    const chosen = () => {
      const frames = live.frames.filter((frame) => !choice || frame.choice === choice.value);
      return frames[Number(slider.value)];
    };
    const draw = async () => {
      const Plotly = await fetchPlotly();
      box.hidden = false; // a plot takes its width from its place
      const ink = getComputedStyle(box).color;
      const config = { displayModeBar: false, responsive: true, scrollZoom: false };
      await Plotly.react(plot, traces(chosen(), ink), layout(live, box), config);
      picture.classList.add("lm-live-replaced");
    };
    const show = () => {
      const frame = chosen();
      slider.setAttribute("aria-valuetext", frame.label);
      value.textContent = frame.label;
      plot.setAttribute("aria-label", frame.finding);
      finding.textContent = frame.finding;
      draw();
    };
    await draw();
    slider.addEventListener("input", show);
    choice?.addEventListener("change", show);
    new MutationObserver(draw).observe(document.documentElement, {
      attributeFilter: ["data-theme"],
    });
  };

  const near = new IntersectionObserver(
    (entries) => {
      for (const entry of entries.filter((seen) => seen.isIntersecting)) {
        near.unobserve(entry.target);
        const box = entry.target.querySelector(".lm-live");
        start(box).catch(() => {
          box.hidden = true;
          entry.target.querySelector("img").classList.remove("lm-live-replaced");
        });
      }
    },
    { rootMargin: "1000px" },
  );
  for (const box of document.querySelectorAll(".lm-live")) near.observe(box.closest("figure"));
})();
