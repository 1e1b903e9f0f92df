/* Small conveniences of the staff site. Every page works without them. */
(() => {
    "use strict";

    // A form that was sent cannot be sent again while the answer is awaited, and says what is going on.
    document.addEventListener("submit", (event) => {
        const form = event.target;
        if (!(form instanceof HTMLFormElement) || !form.hasAttribute("data-busy")) return;
        if (form.dataset.sent) {
            event.preventDefault();
            return;
        }
        form.dataset.sent = "1";
        const button = event.submitter || form.querySelector("button[type=submit]");
        const status = form.querySelector("[data-busy-status]");
        if (status && button) status.textContent = button.dataset.busyText || "One moment …";
        // Disabled after the submission was put together, else the button's own value would be missing.
        window.setTimeout(() => form.querySelectorAll("button[type=submit]").forEach((each) => { each.disabled = true; }), 0);
    });

    // Coming back with the browser's history shows the form ready again.
    window.addEventListener("pageshow", (event) => {
        if (!event.persisted) return;
        document.querySelectorAll("form[data-sent]").forEach((form) => {
            delete form.dataset.sent;
            form.querySelectorAll("button[type=submit]").forEach((button) => { button.disabled = false; });
            const status = form.querySelector("[data-busy-status]");
            if (status) status.textContent = "";
        });
    });

    // Whoever leaves a password that was typed and not saved is asked first.
    let isUnsaved = false;
    document.addEventListener("input", (event) => { isUnsaved ||= Boolean(event.target.closest("form[data-unsaved]")); });
    document.addEventListener("submit", (event) => { isUnsaved &&= !event.target.hasAttribute("data-unsaved"); });
    window.addEventListener("beforeunload", (event) => { if (isUnsaved) event.preventDefault(); });

    // A row that is gone leaves the page (a number whose removal is finished).
    document.addEventListener("htmx:responseError", (event) => {
        if (event.detail.xhr.status !== 404) return;
        const row = event.detail.elt.closest("[data-row]");
        (row || event.detail.elt).remove();
    });

    const line = (field) => field.closest("[id^=div_id_]") || field;

    // Of the scopes of a portal account only the one of its level is asked for.
    const showScope = (level) => {
        document.querySelectorAll("[data-scope]").forEach((field) => {
            line(field).classList.toggle("p-hidden", field.dataset.scope !== level.value);
        });
    };

    // Fields that only make sense with one value of another field: data-needs="media_type=sms".
    const showNeeded = () => {
        document.querySelectorAll("[data-needs]").forEach((part) => {
            const [name, value] = part.dataset.needs.split("=");
            const field = document.querySelector(`[name="${name}"]`);
            line(part).classList.toggle("p-hidden", !field || field.value !== value);
        });
        document.querySelectorAll(".p-form fieldset").forEach((group) => {
            group.classList.toggle("p-hidden", !group.querySelector("[id^=div_id_]:not(.p-hidden)"));
        });
    };

    // A choice that decides which fields the page has loads it anew: data-loads="carrier". Nothing that was typed goes
    // into the address.
    const loadForChoice = (field) => {
        window.location.search = new URLSearchParams({ [field.dataset.loads]: field.value }).toString();
    };

    // A number's MMS cannot be on where its platform's is off (R12).
    const limitMms = () => {
        const mms = document.querySelector("select[data-mms-platforms]");
        const platform = document.querySelector("select[name=platform]");
        if (!mms || !platform) return;
        const on = mms.querySelector("option[value=on]");
        const able = mms.dataset.mmsPlatforms.split(" ").includes(platform.value);
        if (!on) return;
        on.hidden = on.disabled = !able;
        if (!able && mms.value === "on") mms.value = "inherit";
    };

    // Select2 leaves its parts without a name; they take the one of their field.
    const nameSelect2 = () => {
        document.querySelectorAll("select.admin-autocomplete").forEach((select) => {
            const label = document.querySelector(`label[for="${select.id}"]`);
            const made = select.nextElementSibling;
            if (!label || !made) return;
            const name = label.textContent.replace("*", "").trim();
            made.querySelectorAll("[role=combobox], [role=textbox], input").forEach((part) => {
                part.removeAttribute("aria-labelledby");
                part.setAttribute("aria-label", name);
            });
            made.querySelectorAll("ul.select2-selection__rendered").forEach((list) => list.setAttribute("role", "presentation"));
        });
    };

    // The sidebar: over the page on a narrow screen, beside it on a wide one until it is hidden.
    const root = document.documentElement;
    const onMenu = (event) => {
        const button = event.target.closest("[data-menu]");
        if (!button) {
            if (!event.target.closest("[data-sidebar]")) root.classList.remove("p-menu-open");
            return;
        }
        if (button.dataset.menu === "hide") {
            const hidden = root.classList.toggle("p-menu-hidden");
            localStorage.setItem("menu", hidden ? "hidden" : "shown");
        } else {
            root.classList.toggle("p-menu-open", button.dataset.menu === "open");
            document.querySelector(`[data-menu=${button.dataset.menu === "open" ? "close" : "open"}]`).focus();
        }
    };

    // A button that opens a part of the page: closed by itself, by a click beside it, and by Escape.
    const setOpened = (button, opened) => {
        button.setAttribute("aria-expanded", String(opened));
        document.getElementById(button.dataset.opens).hidden = !opened;
    };
    const closeOpened = (focus) => {
        document.querySelectorAll("[data-opens][aria-expanded=true]").forEach((button) => {
            setOpened(button, false);
            if (focus) button.focus();
        });
    };
    const onOpener = (event) => {
        const button = event.target.closest("[data-opens]");
        if (button) setOpened(button, button.getAttribute("aria-expanded") !== "true");
        else if (!event.target.closest(".p-user-menu")) closeOpened(false);
    };

    document.addEventListener("DOMContentLoaded", () => {
        nameSelect2();
        // Select2 comes when jQuery is ready, which may be later.
        new MutationObserver(nameSelect2).observe(document.body, { childList: true, subtree: true });
        const level = document.querySelector("[data-scope-switch]");
        if (level) {
            showScope(level);
            level.addEventListener("change", () => showScope(level));
        }
        [showNeeded, limitMms].forEach((update) => {
            update();
            document.addEventListener("change", update);
        });
        document.querySelectorAll("[data-loads]").forEach((field) => {
            field.addEventListener("change", () => loadForChoice(field));
        });
        document.addEventListener("click", onMenu);
        document.addEventListener("click", onOpener);
        document.addEventListener("keydown", (event) => {
            if (event.key !== "Escape") return;
            root.classList.remove("p-menu-open");
            closeOpened(true);
        });
        // "/" goes to the search, unless somebody is writing.
        document.addEventListener("keydown", (event) => {
            const search = document.querySelector("[data-search]");
            const isPlain = event.key === "/" && !event.ctrlKey && !event.metaKey && !event.altKey;
            if (!search || !isPlain || event.target.closest("input, textarea, select, [contenteditable]")) return;
            event.preventDefault();
            search.focus();
        });
        document.addEventListener("click", (event) => {
            const button = event.target.closest("[data-copy]");
            if (!button) return;
            const source = document.querySelector(button.dataset.copy);
            source.select();
            navigator.clipboard.writeText(source.value).then(() => { button.textContent = "Copied"; });
        });
    });
})();
