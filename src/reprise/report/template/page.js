(() => {
  "use strict";
  const figures = JSON.parse(document.getElementById("figures").textContent);
  const dark = window.matchMedia("(prefers-color-scheme: dark)");
  const touched = window.matchMedia("(pointer: coarse)").matches;
  const config = { responsive: true, displayModeBar: false, showTips: false };

  // What light and dark change, and what a finger needs: on a touched screen a drag scrolls.
  const themed = () => {
    const style = getComputedStyle(document.documentElement);
    const colour = (name) => style.getPropertyValue(name).trim();
    const look = {
      "font.color": colour("--ink"),
      "font.family": getComputedStyle(document.body).fontFamily,
      "font.size": 12,
      paper_bgcolor: "rgba(0,0,0,0)",
      plot_bgcolor: "rgba(0,0,0,0)",
      "hoverlabel.bgcolor": colour("--card"),
      "hoverlabel.bordercolor": colour("--rule"),
      "hoverlabel.font.color": colour("--ink"),
      dragmode: touched ? false : "zoom",
    };
    for (const axis of ["xaxis", "yaxis"]) {
      look[axis + ".gridcolor"] = colour("--rule");
      look[axis + ".zerolinecolor"] = colour("--rule");
      look[axis + ".linecolor"] = colour("--faint");
    }
    return look;
  };

  const drawn = new Set();
  const draw = async (place) => {
    if (drawn.has(place)) return;
    drawn.add(place);
    const figure = figures[place.id];
    await Plotly.newPlot(place, figure.data, figure.layout, config);
    await Plotly.relayout(place, themed());
  };
  const hidden = (place) => place.closest("details:not([open])") !== null;
  const places = [...document.querySelectorAll(".plot")];

  dark.addEventListener("change", () => drawn.forEach((place) => Plotly.relayout(place, themed())));
  document.querySelectorAll("details").forEach((folded) =>
    folded.addEventListener("toggle", () => places.filter((p) => !hidden(p)).forEach(draw)));
  Promise.all(places.filter((place) => !hidden(place)).map(draw)).then(() => {
    document.documentElement.dataset.drawn = drawn.size;
  });
})();
