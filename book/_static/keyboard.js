// The theme gives boxes that scroll a place in the tab order when the window changes its size; a
// box inside a fold has no size until the fold opens, so that is announced as such a change.
(() => {
  "use strict";
  const announce = () => window.dispatchEvent(new Event("resize"));
  document.addEventListener("toggle", announce, true);
  document.addEventListener("click", (event) => {
    if (event.target.closest(".admonition.toggle > .admonition-title")) announce();
  });

  /* The theme takes the keyboard away from these buttons at every click, so that a mouse leaves no
     tooltip behind. A key's click, which counts no presses, keeps it: for the next press, and to
     come back to from a dialog. */
  const buttons = ".theme-switch-button, .search-button, .primary-toggle, .secondary-toggle";
  const keep = ({ detail, currentTarget }) => detail === 0 && currentTarget.focus();
  window.addEventListener("load", () => {
    for (const button of document.querySelectorAll(buttons)) {
      button.addEventListener("click", keep, true);
    }
  });
})();
