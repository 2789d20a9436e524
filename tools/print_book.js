/* Makes one page of HTML ready for paper; runs in the browser that prints it. Returns the number
   of formulas that were not typeset. */
async (titlePage) => {
  const article = document.querySelector("article.bd-article");
  document.body.replaceChildren(article);
  document.body.insertAdjacentHTML("afterbegin", titlePage);
  document.documentElement.dataset.theme = "light";

  for (const fold of document.querySelectorAll("details")) fold.open = true;
  for (const fold of document.querySelectorAll(".toggle-hidden")) {
    fold.classList.remove("toggle-hidden");
  }

  /* Links between pages become links inside the one page. An id such as id2 may stand on many
     pages; of these, only an entry of the bibliography is linked to from elsewhere. */
  const places = Map.groupBy(document.querySelectorAll("[id]"), (element) => element.id);
  const target = (address) => {
    const [path, fragment] = address.split("#");
    const page = path.split("?")[0].replace(/^(\.\.\/)+/, "").replace(/\.html$/, "");
    const found = places.get(fragment) ?? [];
    if (page === "" || page === "book/index") {
      return found.find((one) => one.closest(".citation, dl.citation")) ?? found[0];
    }
    const start = document.getElementById(`document-${page.includes("/") ? page : `book/${page}`}`);
    return found.find((one) => start?.nextElementSibling.contains(one)) ?? start;
  };
  const named = (element) => {
    if (places.get(element.id).length > 1) {
      element.id = `paper-${places.size}`;
      places.set(element.id, [element]);
    }
    return `#${element.id}`;
  };
  for (const link of document.querySelectorAll("a[href]")) {
    const address = link.getAttribute("href");
    if (/^[a-z]+:/i.test(address)) continue;
    const element = target(address);
    if (element) link.setAttribute("href", named(element));
    else link.removeAttribute("href");
  }

  const formulas = [...document.querySelectorAll(".math")];
  if (formulas.length) await MathJax.startup.promise;
  await document.fonts.ready;
  for (const image of document.images) image.loading = "eager";
  await Promise.all([...document.images].map((image) => image.decode().catch(() => {})));
  return formulas.filter((formula) => !formula.querySelector("mjx-container")).length;
}
