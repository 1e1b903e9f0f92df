/* The page's colours: the system's, unless somebody chose others here. Runs before the page is drawn. */
(() => {
    "use strict";

    const dark = window.matchMedia("(prefers-color-scheme: dark)");
    const root = document.documentElement;

    const show = () => {
        const chosen = localStorage.getItem("theme") || "auto";
        root.classList.toggle("dark", chosen === "dark" || (chosen === "auto" && dark.matches));
        document.querySelectorAll("[data-theme]").forEach((button) => {
            button.setAttribute("aria-pressed", String(button.dataset.theme === chosen));
        });
    };

    root.classList.toggle("p-menu-hidden", localStorage.getItem("menu") === "hidden");
    show();
    dark.addEventListener("change", show);
    document.addEventListener("DOMContentLoaded", show);
    document.addEventListener("click", (event) => {
        const button = event.target.closest("[data-theme]");
        if (!button) return;
        localStorage.setItem("theme", button.dataset.theme);
        show();
    });
})();
