// The theme gives boxes that scroll a place in the tab order when the window changes its size; a
// box inside a fold has no size until the fold opens, so that is announced as such a change.
(() => {
  "use strict";
  const announce = () => window.dispatchEvent(new Event("resize"));
  document.addEventListener("toggle", announce, true);
  document.addEventListener("click", (event) => {
    if (event.target.closest(".admonition.toggle > .admonition-title")) announce();
  });
})();
