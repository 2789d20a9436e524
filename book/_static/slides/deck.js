// Turns the long page into slides where the window is wide enough. Each slide is 1280 by 720 and is
// scaled to the window; its text starts large and is made smaller until it fits.
const root = document.documentElement;
const slides = [...document.querySelectorAll(".slide")];
const place = document.getElementById("place");
const narrow = 900;
let here = 0;

function fit() {
  root.classList.add("measured");
  for (const slide of slides) {
    const inside = slide.querySelector(".fit");
    const largest = slide.matches(".words, .box, .exercise, .further") ? 1.3 : 1;
    for (let share = largest; share >= 0.45; share -= 0.03) {
      slide.style.setProperty("--fit", share.toFixed(2));
      slide.style.setProperty("--picture", Math.min(Math.max(share, 0.85), 1).toFixed(2));
      const formulas = [...inside.querySelectorAll(".display")];
      const wide = formulas.some((formula) => formula.scrollWidth > formula.clientWidth);
      if (!wide && inside.scrollHeight <= inside.clientHeight) break;
    }
  }
  root.classList.remove("measured");
}

function show(number) {
  here = Math.min(Math.max(number, 0), slides.length - 1);
  slides.forEach((slide, index) => slide.classList.toggle("here", index === here));
  place.textContent = `Slide ${here + 1} of ${slides.length}`;
  for (const id of ["first", "back"]) mark(id, here === 0);
  for (const id of ["last", "next"]) mark(id, here === slides.length - 1);
  if (root.classList.contains("deck")) history.replaceState(null, "", `#s${here + 1}`);
}

function mark(id, done) {
  document.getElementById(id).setAttribute("aria-disabled", done);
}

function arrange() {
  const deck = innerWidth >= narrow;
  root.classList.toggle("deck", deck);
  root.style.setProperty("--scale", Math.min(innerWidth / 1280, (innerHeight - 48) / 720));
  if (deck) show(here);
}

function toggleTheme() {
  const dark = matchMedia("(prefers-color-scheme: dark)").matches;
  const now = root.dataset.theme ?? (dark ? "dark" : "light");
  root.dataset.theme = now === "dark" ? "light" : "dark";
}

const moves = {
  ArrowRight: () => here + 1, ArrowDown: () => here + 1, PageDown: () => here + 1,
  ArrowLeft: () => here - 1, ArrowUp: () => here - 1, PageUp: () => here - 1,
  Home: () => 0, End: () => slides.length - 1,
};

addEventListener("keydown", (event) => {
  if (!root.classList.contains("deck") || event.ctrlKey || event.altKey || event.metaKey) return;
  if (event.key in moves) {
    event.preventDefault();
    show(moves[event.key]());
  }
});
document.getElementById("first").addEventListener("click", () => show(0));
document.getElementById("back").addEventListener("click", () => show(here - 1));
document.getElementById("next").addEventListener("click", () => show(here + 1));
document.getElementById("last").addEventListener("click", () => show(slides.length - 1));
document.getElementById("theme").addEventListener("click", toggleTheme);
addEventListener("resize", arrange);
addEventListener("hashchange", () => show(Number(location.hash.slice(2)) - 1 || 0));
// On paper every slide is one page, also if the window was too narrow for slides.
addEventListener("beforeprint", () => root.classList.add("deck"));
addEventListener("afterprint", arrange);

Promise.all([...document.images].map((image) => image.decode().catch(() => {}))).then(() => {
  fit();
  here = Number(location.hash.slice(2)) - 1 || 0;
  arrange();
});
