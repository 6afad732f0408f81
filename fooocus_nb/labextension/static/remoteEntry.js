// What JupyterLab loads of a prebuilt extension, written by hand: a container as webpack's module
// federation knows it. It needs no build, neither here nor where this is installed.
(() => {
  "use strict";

  let scope = {};

  // Several versions of a package may be offered. A token is only good from the one that the
  // application itself uses: it is loaded already, or it came with the application.
  function chosen(versions) {
    const offers = Object.values(versions);
    return (
      offers.find((offer) => offer.loaded) ??
      offers.find((offer) => /application-top|notebook\/app/.test(offer.from ?? "")) ??
      offers.at(-1)
    );
  }

  // A package that the application shares; null where it has none of that name.
  async function shared(name) {
    const offer = scope[name] && chosen(scope[name]);
    return offer ? (await offer.get())() : null;
  }

  async function get() {
    const { plugins } = await import("./plugin.js"); // beside this script
    const found = { __esModule: true, default: await plugins(shared) };
    return () => found;
  }

  window._JUPYTERLAB ??= {};
  window._JUPYTERLAB["fooocus-nb"] = {
    init(given) {
      scope = given;
    },
    get,
  };
})();
