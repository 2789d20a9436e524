/* The scorecard's table, where a script runs: columns that sort and rows that are chosen.
   The choices may stand in the address, as in scorecard.html?kind=limit&pillar=simple+laws. */
document.addEventListener("DOMContentLoaded", () => {
  const table = document.querySelector(".lm-scorecard table");
  const choices = document.querySelector("form.lm-choices");
  if (!table || !choices) return;
  const body = table.tBodies[0];
  const rows = [...body.rows];
  const shown = choices.querySelector("output");
  const headers = [...table.tHead.rows[0].cells];

  const choose = () => {
    const chosen = [...new FormData(choices)].filter(([, value]) => value);
    for (const row of rows) row.hidden = chosen.some(([name, value]) => row.dataset[name] !== value);
    shown.value = `${rows.filter((row) => !row.hidden).length} of ${rows.length} shown`;
  };

  /* Cells are compared as numbers where both are; a cell without a value comes last either way. */
  const compare = (one, other, sign) => {
    if (one === other) return 0;
    if (one === "") return 1;
    if (other === "") return -1;
    const difference = Number(one) - Number(other);
    return sign * (Number.isNaN(difference) ? one.localeCompare(other) : difference);
  };

  const sort = (header, column) => {
    const up = header.getAttribute("aria-sort") !== "ascending";
    for (const one of headers) one.removeAttribute("aria-sort");
    header.setAttribute("aria-sort", up ? "ascending" : "descending");
    const key = (row) => row.cells[column].dataset.order ?? String(rows.indexOf(row));
    const sorted = [...rows].sort((a, b) => compare(key(a), key(b), up ? 1 : -1));
    body.append(...sorted);
  };

  headers.forEach((header, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...header.childNodes);
    button.addEventListener("click", () => sort(header, column));
    header.append(button);
  });

  for (const [name, value] of new URLSearchParams(location.search)) {
    const field = choices.elements[name];
    if (field && [...field.options].some((option) => option.value === value)) field.value = value;
  }
  choices.addEventListener("change", choose);
  choices.addEventListener("submit", (event) => event.preventDefault());
  choices.hidden = false;

  /* A row that somebody cites is shown, whatever was chosen before. */
  const cited = () => {
    const row = rows.find((one) => one.id === decodeURIComponent(location.hash.slice(1)));
    if (!row) return;
    if (row.hidden) {
      choices.reset();
      choose();
    }
    row.scrollIntoView({ block: "center" });
  };
  addEventListener("hashchange", cited);
  /* A reader who comes back finds the choices restored, which happens after the page is read. */
  addEventListener("pageshow", () => {
    choose();
    cited();
  });
});
