// The report's only script: sliders through all slices, n and p through the flagged ones. It loads nothing.
(function () {
  "use strict";
  document.documentElement.classList.add("js");
  const viewers = Array.from(document.querySelectorAll(".viewer"), (element) => {
    const slices = JSON.parse(element.querySelector("script").textContent);
    const image = element.querySelector("img");
    const slider = element.querySelector("input");
    const said = element.querySelector("output");
    const viewer = { element, slices, slider };
    viewer.show = (place) => {
      const one = slices[place];
      slider.value = String(place);
      image.src = "data:image/jpeg;base64," + one.jpeg;
      image.alt = element.getAttribute("aria-label") + ". " + one.words;
      said.textContent = one.words + (one.flagged ? " · look at this slice" : "");
      said.className = one.flagged ? "flagged" : "";
      slider.setAttribute("aria-valuetext", said.textContent);
    };
    slider.addEventListener("input", () => viewer.show(Number(slider.value)));
    element.querySelector(".before").addEventListener("click", () => step(-1, viewer));
    element.querySelector(".after").addEventListener("click", () => step(1, viewer));
    const main = slices.findIndex((one) => one.main);
    viewer.show(main < 0 ? Math.floor(slices.length / 2) : main);
    return viewer;
  });
  // Flagged slices of the whole page, in the order of the page.
  const flagged = viewers.flatMap((viewer, number) =>
    viewer.slices.flatMap((one, place) => (one.flagged ? [{ viewer, number, place }] : [])));
  let last = null;

  function step(direction, from) {
    if (!flagged.length) return;
    const viewer = from || (last && last.viewer);
    let at = -1;
    if (viewer) {
      const here = viewers.indexOf(viewer), place = Number(viewer.slider.value);
      const order = (one) => one.number - here || one.place - place;
      at = direction > 0 ? flagged.findIndex((one) => order(one) > 0)
        : flagged.findLastIndex((one) => order(one) < 0);
      if (at < 0) at = direction > 0 ? 0 : flagged.length - 1;
    } else {
      at = direction > 0 ? 0 : flagged.length - 1;
    }
    go(flagged[at]);
  }

  function go(one) {
    last = one;
    one.viewer.show(one.place);
    one.viewer.element.scrollIntoView({ block: "center" });
    one.viewer.slider.focus({ preventScroll: true });
  }

  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.altKey || event.metaKey) return;
    if (event.key === "n" || event.key === "p") {
      const focused = viewers.find((one) => one.element.contains(document.activeElement));
      step(event.key === "n" ? 1 : -1, focused || null);
      event.preventDefault();
    }
  });
  document.querySelectorAll("a[data-slice]").forEach((link) => link.addEventListener("click", (event) => {
    const viewer = viewers.find((one) => "#" + one.element.id === link.getAttribute("href"));
    const place = viewer ? viewer.slices.findIndex((one) => String(one.slice) === link.dataset.slice) : -1;
    if (place >= 0) {
      go({ viewer, place });
      event.preventDefault();
    }
  }));
})();
