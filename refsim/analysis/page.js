"use strict";
// Tables of which the page holds all rows, and shows the first: sorted by a click on a head, filtered by words.
for (const box of document.querySelectorAll(".data")) {
  const rows = JSON.parse(box.querySelector("script").textContent);
  const heads = [...box.querySelectorAll("thead th")];
  const body = box.querySelector("tbody");
  const search = box.querySelector("input");
  const count = box.querySelector(".count");
  const more = box.querySelector(".more");
  const first = Number(box.dataset.first);
  const format = new Intl.NumberFormat("en");
  let most = first;
  let column = -1;
  let down = false;

  const compare = (a, b) => {
    const x = a[column], y = b[column];
    if (x === "" || y === "") return (x === "") - (y === ""); // what is empty comes last, either way round
    const [p, q] = [Number(x), Number(y)];
    const order = Number.isNaN(p) || Number.isNaN(q) ? x.localeCompare(y, "en", { numeric: true }) : p - q;
    return down ? -order : order;
  };
  const show = () => {
    const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
    const found = rows.filter((row) => words.every((word) => row.some((cell) => cell.toLowerCase().includes(word))));
    if (column >= 0) found.sort(compare);
    body.replaceChildren(...found.slice(0, most).map((row) => {
      const line = document.createElement("tr");
      row.forEach((cell, i) => {
        const made = document.createElement("td");
        made.className = heads[i].className;
        made.textContent = cell;
        line.append(made);
      });
      return line;
    }));
    const shown = Math.min(most, found.length);
    count.textContent = `${format.format(shown)} of ${format.format(found.length)} rows` + (words.length ? ` that match, ${format.format(rows.length)} in all` : "");
    more.hidden = shown === found.length;
  };
  heads.forEach((head, i) => head.querySelector("button").addEventListener("click", () => {
    down = column === i && !down;
    column = i;
    heads.forEach((other, j) => other.setAttribute("aria-sort", j !== i ? "none" : down ? "descending" : "ascending"));
    show();
  }));
  search.addEventListener("input", () => { most = first; show(); });
  more.addEventListener("click", () => { most += 500; show(); });
  show();
}
addEventListener("beforeprint", () => document.querySelectorAll("details").forEach((part) => { part.open = true; }));
