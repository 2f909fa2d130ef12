// Small enhancements; every page works without this file.

const root = document.documentElement;

// Theme --------------------------------------------------------------------------------------------

function showTheme() {
  const theme = root.dataset.theme ?? "system";
  for (const button of document.querySelectorAll("[data-theme-choice]"))
    button.setAttribute("aria-pressed", String(button.dataset.themeChoice === theme));
}

function chooseTheme(theme) {
  if (theme === "system") delete root.dataset.theme;
  else root.dataset.theme = theme;
  try {
    if (theme === "system") localStorage.removeItem("keyfare-theme");
    else localStorage.setItem("keyfare-theme", theme);
  } catch {
    // Kept for this page only.
  }
  showTheme();
}

// Toasts -------------------------------------------------------------------------------------------

const TOAST_MS = 7000;

const PLACES = ["top-right", "bottom-right", "top", "bottom"]; // as the style sheet has them

// Where they cover no link, button or field, or as few as can be; while they cover none, they stay.
function placeToasts() {
  const toasts = document.getElementById("toasts");
  if (!toasts?.querySelector(".toast")) return;
  const targets = [...document.querySelectorAll("a, button, input, select, textarea, summary")].filter((each) => !toasts.contains(each));
  const covered = (place) => {
    toasts.dataset.place = place;
    const { left, right, top, bottom } = toasts.getBoundingClientRect();
    return targets.filter((each) => {
      const box = each.getBoundingClientRect();
      return box.width && box.left < right && left < box.right && box.top < bottom && top < box.bottom;
    }).length;
  };
  let best = toasts.dataset.place ?? PLACES[0];
  let fewest = covered(best);
  for (const place of fewest ? PLACES : []) {
    const count = covered(place);
    if (count < fewest) [best, fewest] = [place, count];
  }
  toasts.dataset.place = best;
}

for (const change of ["scrollend", "resize"]) window.addEventListener(change, placeToasts);

function armToasts() {
  placeToasts();
  for (const toast of document.querySelectorAll(".toast:not([data-armed])")) {
    toast.dataset.armed = "";
    if (toast.matches(".error, .warning")) continue;
    let timer = setTimeout(() => toast.remove(), TOAST_MS);
    toast.addEventListener("mouseenter", () => clearTimeout(timer));
    toast.addEventListener("mouseleave", () => (timer = setTimeout(() => toast.remove(), TOAST_MS)));
  }
}

function showError(sentence) {
  const toast = document.createElement("div");
  toast.className = "toast error";
  const text = document.createElement("p");
  text.textContent = sentence;
  const close = document.createElement("button");
  close.type = "button";
  close.className = "toast-close";
  close.dataset.dismiss = "";
  close.setAttribute("aria-label", "Dismiss");
  close.textContent = "×";
  toast.append(text, close);
  document.getElementById("toasts")?.append(toast);
  placeToasts();
}

// Clicks -------------------------------------------------------------------------------------------

document.addEventListener("click", (event) => {
  const target = event.target.closest("[data-theme-choice], [data-dismiss], [data-dialog], [data-dialog-close], [data-copy]");
  for (const menu of document.querySelectorAll("details.menu[open]"))
    if (!menu.contains(event.target)) menu.open = false;
  if (event.target instanceof HTMLDialogElement && event.target.open && event.target.matches(".dialog")) {
    const box = event.target.getBoundingClientRect();
    const inside = event.clientX >= box.left && event.clientX <= box.right && event.clientY >= box.top && event.clientY <= box.bottom;
    if (!inside) event.target.close();
  }
  if (!target) return;
  if (target.dataset.themeChoice) chooseTheme(target.dataset.themeChoice);
  else if ("dismiss" in target.dataset) target.closest(".toast")?.remove();
  else if ("dialogClose" in target.dataset) {
    event.preventDefault();
    target.closest("dialog")?.close();
  } else if (target.dataset.dialog) {
    const dialog = document.getElementById(target.dataset.dialog);
    if (!dialog?.showModal) return; // the link or form then does it on a page of its own
    event.preventDefault();
    dialog.showModal();
  } else if (target.dataset.copy) {
    navigator.clipboard?.writeText(target.dataset.copy).then(() => {
      const label = target.querySelector("[data-copy-label]") ?? target;
      const before = label.textContent;
      label.textContent = "Copied";
      setTimeout(() => (label.textContent = before), 1600);
    });
  }
});

// A second click on a button that sends a form is not sent. The server would do it once anyhow.

const SENT_MS = 3000;

document.addEventListener("submit", (event) => {
  const form = event.target;
  if (event.defaultPrevented || form.method !== "post") return;
  if ("sent" in form.dataset) event.preventDefault();
  else {
    form.dataset.sent = "";
    setTimeout(() => delete form.dataset.sent, SENT_MS);
  }
});
window.addEventListener("pageshow", () => {
  for (const form of document.querySelectorAll("form[data-sent]")) delete form.dataset.sent;
});

document.addEventListener("keydown", (event) => {
  if (event.key !== "Escape") return;
  const menu = document.querySelector("details.menu[open]");
  if (!menu) return;
  menu.open = false;
  menu.querySelector("summary").focus();
});

// What was typed and not saved is asked about before it is left: <form data-unsaved> ---------------------
// data-saved on a field is what the server has, where the page shows something else; data-unsaved="typed" on the form
// says that all of it is as somebody typed it.

let isSending = false;

function isChanged(field) {
  if (!field.name || ["hidden", "submit", "button"].includes(field.type)) return false;
  if ("saved" in field.dataset) return field.value !== field.dataset.saved;
  if (field instanceof HTMLSelectElement) return field.selectedIndex !== Math.max(0, [...field.options].findIndex((option) => option.defaultSelected));
  if (["checkbox", "radio"].includes(field.type)) return field.checked !== field.defaultChecked;
  return field.value !== field.defaultValue;
}

const isUnsaved = (form) => form.dataset.unsaved === "typed" || [...form.elements].some(isChanged);

function noteUnsaved() {
  for (const note of document.querySelectorAll("[data-unsaved-note]")) note.hidden = !isUnsaved(note.closest("form"));
}

document.addEventListener("input", noteUnsaved);
document.addEventListener("htmx:afterSettle", noteUnsaved);
document.addEventListener("submit", (event) => (isSending ||= !event.defaultPrevented && "unsaved" in event.target.dataset));
window.addEventListener("pageshow", () => (isSending = false));
window.addEventListener("beforeunload", (event) => {
  if (!isSending && [...document.querySelectorAll("form[data-unsaved]")].some(isUnsaved)) event.preventDefault();
});

// "Select all" boxes: <input type="checkbox" data-check-all="field name"> -----------------------------

document.addEventListener("change", (event) => {
  const box = event.target;
  if (box.dataset.checkAll) {
    for (const each of document.querySelectorAll(`input[type="checkbox"][name="${CSS.escape(box.dataset.checkAll)}"]:not(:disabled)`))
      if (each.checked !== box.checked) {
        each.checked = box.checked;
        each.dispatchEvent(new Event("change", { bubbles: true }));
      }
  } else if (box.matches("[data-submit-on-change]")) box.form?.requestSubmit();
  // Who ticks one of many means those: <div data-choose="id of a radio button">
  const choice = document.getElementById(box.closest("[data-choose]")?.dataset.choose);
  if (choice) choice.checked = true;
});

// htmx ---------------------------------------------------------------------------------------------

function focusFirstError(scope) {
  const field = scope?.querySelector?.('[aria-invalid="true"]');
  if (field) field.focus();
}

// Focus stays where the person is: a button that sends a form is disabled meanwhile or gone afterwards, and browsers then
// give up the focus. Tried in order: the same element, what its data-focus-next names, the parts that it stood in.

const placesOfRequests = new WeakMap();

function placeOf(element) {
  const ids = [element.id, ...(element.dataset.focusNext ?? "").split(" ")];
  for (let around = element.parentElement; around && around.id !== "main"; around = around.parentElement) ids.push(around.id);
  return ids.filter(Boolean);
}

function keepFocus(xhr) {
  const place = placesOfRequests.get(xhr);
  if (!place || (document.activeElement && document.activeElement !== document.body)) return;
  const target = place.map((id) => document.getElementById(id)).find((each) => each && each.offsetParent !== null && !each.disabled);
  if (!target) return;
  target.focus({ preventScroll: true });
  if (document.activeElement === target) return;
  target.tabIndex = -1;
  target.focus({ preventScroll: true });
}

document.addEventListener("htmx:beforeRequest", (event) => {
  const { elt, xhr } = event.detail;
  if (elt.contains(document.activeElement)) placesOfRequests.set(xhr, placeOf(document.activeElement));
});
document.addEventListener("htmx:afterSettle", (event) => keepFocus(event.detail.xhr));
document.addEventListener("htmx:afterRequest", (event) => keepFocus(event.detail.xhr)); // nothing was swapped

document.addEventListener("htmx:load", armToasts);
document.addEventListener("htmx:oobAfterSwap", armToasts);
document.addEventListener("htmx:afterSettle", (event) => {
  if (event.detail.xhr?.status !== 422) return;
  event.detail.elt.querySelector?.('[role="alert"]')?.scrollIntoView({ block: "nearest" });
  focusFirstError(event.detail.elt);
});
document.addEventListener("htmx:sendError", () => showError("The server could not be reached. Check your connection, then try again."));
document.addEventListener("htmx:responseError", (event) => {
  const { status, responseText } = event.detail.xhr;
  const isSentence = event.detail.xhr.getResponseHeader("Content-Type")?.startsWith("text/plain");
  if ([408, 413, 503].includes(status) && isSentence) showError(responseText);
  else if (status === 403) showError("You may not do that. Reload the page; your role or session may have changed.");
  else if (status === 404) showError("That no longer exists. Reload the page.");
  else showError("Something went wrong on our side and nothing was changed. Try again.");
});

// Logging in: what follows "#" never reaches the server, so it travels in the address to go to afterwards ---

function keepSection() {
  if (!location.hash || !document.querySelector(".entrance")) return;
  for (const field of document.querySelectorAll('input[name="next"]')) if (!field.value.includes("#")) field.value += location.hash;
  for (const link of document.querySelectorAll('a[href*="next="]')) {
    const url = new URL(link.href);
    const next = url.searchParams.get("next");
    if (next && !next.includes("#")) url.searchParams.set("next", next + location.hash);
    link.href = url;
  }
}

// Passkeys (allauth's scripts) ---------------------------------------------------------------------------

document.addEventListener("allauth.error", (event) => {
  event.preventDefault();
  const isNew = document.getElementById("mfa_webauthn_add");
  if (isNew) showError("The passkey was not added: the browser refused, or you cancelled. A security key without a PIN can be added as a second step only: remove the tick, then try again.");
  else showError("The passkey was not used: the browser refused, or you cancelled. Try again, or use another way.");
});

// What is long and seldom looked at stands in noscript, and is made when it is asked for -------------------

function unpack(kept) {
  if (!kept) return;
  if (kept.firstElementChild) kept.replaceWith(...kept.childNodes); // htmx has read it with scripts off
  else kept.outerHTML = kept.textContent;
}
document.addEventListener("focusin", (event) => {
  const list = event.target.getAttribute("list");
  if (list) unpack(document.querySelector(`noscript[data-list="${CSS.escape(list)}"]`));
});
document.addEventListener("toggle", (event) => unpack(event.target.querySelector("noscript[data-kept]")), true);

// Charts: the figures of the day under the pointer, as the table below the drawing has them -----------------

const tip = document.createElement("div");
tip.className = "chart-tip";
tip.hidden = true;
document.body.append(tip);

function tellDay(event) {
  const days = event.target.closest?.("[data-days]");
  tip.hidden = !days;
  if (!days) return;
  const figure = days.closest("figure");
  unpack(figure.querySelector("noscript[data-kept]"));
  const box = days.getBoundingClientRect();
  const rows = figure.querySelectorAll("tbody tr");
  const at = Math.floor(((event.clientX - box.left) / box.width) * rows.length);
  const [day, ...figures] = rows[Math.max(0, Math.min(at, rows.length - 1))].cells;
  const told = figures.length > 2 ? figures : figures.slice(-1); // of one series the total says it all
  tip.textContent = [day.textContent, ...told.map((cell) => `${cell.dataset.th}: ${cell.textContent}`)].join("\n");
  const left = Math.min(event.clientX + 14, window.innerWidth - tip.offsetWidth - 8);
  tip.style.left = `${left}px`;
  tip.style.top = `${Math.max(8, event.clientY - tip.offsetHeight - 12)}px`;
}
document.addEventListener("pointerover", tellDay);
document.addEventListener("pointermove", tellDay);

// The tab that one is at, which on a narrow screen may lie beyond the edge.
function showTab() {
  const here = document.querySelector(".tabs [aria-current]");
  if (!here) return;
  const [tab, row] = [here.getBoundingClientRect(), here.parentElement.getBoundingClientRect()];
  here.parentElement.scrollLeft += tab.left - row.left - (row.width - tab.width) / 2;
}

showTheme();
armToasts();
showTab();
noteUnsaved();
keepSection();
focusFirstError(document.querySelector("main form"));
