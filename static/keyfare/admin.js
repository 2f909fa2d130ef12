// What Unfold's pages leave out for assistive technology. Runs before its scroll bars are made, which read their names here.

document.addEventListener("DOMContentLoaded", () => {
  document.getElementById("main")?.setAttribute("role", "main");
  const names = [
    ["#nav-sidebar", "Menu"],
    ["#changelist-filter", "Filters"],
    ["#changelist", "Results"],
  ];
  document.querySelectorAll("[data-simplebar]").forEach((element, index) => {
    const name = names.find(([place]) => element.closest(place))?.[1] ?? `Part ${index + 1}`;
    element.dataset.simplebarAriaLabel = name;
  });
});
