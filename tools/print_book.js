/* Makes one page of HTML ready for paper; runs in the browser that prints it. Returns the number
   of formulas that were not typeset. */
async (titlePage) => {
  const article = document.querySelector("article.bd-article");
  const names = [...document.querySelectorAll("nav.bd-links .caption")].map((one) => one.textContent);
  document.body.replaceChildren(article);
  document.body.insertAdjacentHTML("afterbegin", titlePage);
  document.documentElement.dataset.theme = "light";

  for (const fold of document.querySelectorAll("details")) fold.open = true;
  for (const fold of document.querySelectorAll(".toggle-hidden")) {
    fold.classList.remove("toggle-hidden");
  }

  /* Links between pages become links inside the one page. An id such as id2 may stand on many
     pages; of these, only an entry of the bibliography is linked to from elsewhere. */
  /* A page of the book is a section behind a mark that bears its name. */
  const marks = "span[id^='document-']";
  const places = Map.groupBy(document.querySelectorAll("[id]"), (element) => element.id);
  const target = (address) => {
    const [path, fragment] = address.split("#");
    const page = path.split("?")[0].replace(/^(\.\.\/)+/, "").replace(/\.html$/, "");
    const found = places.get(fragment) ?? [];
    if (page === "" || page === "book/index") {
      return found.find((one) => one.closest(".citation, dl.citation")) ?? found[0];
    }
    const start = document.getElementById(`document-${page.includes("/") ? page : `book/${page}`}`);
    const section = start?.nextElementSibling;
    return found.find((one) => section?.contains(one)) ?? section;
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

  /* The contents: the parts of the book and their pages. Numbers come when paper has shown them. */
  const contents = document.createElement("nav");
  contents.className = "lm-contents";
  contents.innerHTML = "<h2>Contents</h2>";
  document.querySelectorAll(".toctree-wrapper").forEach((part, n) => {
    contents.append(Object.assign(document.createElement("p"), { textContent: names[n] }));
    for (const { nextElementSibling: section } of part.querySelectorAll(marks)) {
      const link = document.createElement("a");
      link.href = named(section);
      link.append(...section.querySelector("h2").cloneNode(true).childNodes);
      link.querySelector(".headerlink")?.remove();
      link.append(document.createElement("span"));
      contents.append(link);
    }
  });
  article.before(contents);

  const formulas = [...document.querySelectorAll(".math")];
  if (formulas.length) await MathJax.startup.promise;
  await document.fonts.ready;
  for (const image of document.images) image.loading = "eager";
  await Promise.all([...document.images].map((image) => image.decode().catch(() => {})));
  return formulas.filter((formula) => !formula.querySelector("mjx-container")).length;
}
