"use strict";
// The page shows everything; this covers the newest images up and uncovers them one after another.
(() => {
  const SHOW_IMAGE = 550; // milliseconds in which the audience sees an image alone
  const SHOW_VERDICT = 750;
  const BETWEEN_DIRECTIONS = 2500;
  const RELOAD = 5000;
  const NEXT_MATCH = 8000;

  const query = new URLSearchParams(location.search);
  const show = query.has("show");
  const root = document.documentElement;
  root.classList.add("loading"); // nothing is to be seen before it is covered
  root.classList.toggle("show", show);

  const store = (() => {
    try {
      return window.sessionStorage;
    } catch {
      return null; // the browser keeps nothing for files; then nothing plays by itself a second time
    }
  })();

  document.addEventListener("DOMContentLoaded", () => {
    const page = JSON.parse(document.getElementById("page").textContent);
    keepDetailsOpen();
    const reveal = makeReveal();
    addKeys(reveal);
    start(page, reveal);
    root.classList.remove("loading");
  });

  function start(page, reveal) {
    const seen = !store || store.getItem(page.match) !== null;
    const onIndex = !link("up");
    const still = matchMedia("(prefers-reduced-motion: reduce)").matches;
    if (!reveal) {
      whatComes(page, () => true);
      return;
    }
    reveal.onEnd = () => {
      if (store) store.setItem(page.match, "seen");
      whatComes(page, reveal.ended);
    };
    if (still || query.has("seen") || (!show && seen) || (onIndex && !page.plays_itself)) {
      reveal.all();
    } else {
      reveal.cover();
      if (show || page.plays_itself) reveal.play();
    }
  }

  function whatComes(page, ended) {
    // Whoever plays the reveal again meanwhile is not interrupted; its end brings us here again.
    const later = (milliseconds, go) => setTimeout(() => ended() && go(), milliseconds);
    const next = link("next");
    if (show) {
      if (next) later(NEXT_MATCH, () => location.assign(`${next.getAttribute("href")}?show`));
      else if (page.running) later(RELOAD, () => location.replace("?show&seen"));
      else later(2 * NEXT_MATCH, () => location.assign(link("up").getAttribute("href")));
    } else if (page.running && !link("up")) {
      later(RELOAD, () => location.reload());
    }
  }

  function link(rel) {
    return document.querySelector(`a[rel=${rel}]`);
  }

  // The reveal's state is how many steps are done, and whether the image of the next one is on show.
  function makeReveal() {
    const element = document.querySelector(".reveal");
    if (!element || !element.querySelector(".direction")) return null;
    const directions = [...element.querySelectorAll(".direction")];
    const steps = directions.flatMap(stepsOf);
    const buttons = Object.fromEntries(["play", "next", "all"].map((id) => [id, document.getElementById(id)]));
    const reveal = { onEnd: () => {}, cover, play, next, all, ended: () => done === steps.length };
    let done = 0;
    let shown = false;
    let timer = null;

    element.querySelector(".controls").hidden = false;
    buttons.play.addEventListener("click", () => (timer ? pause() : play()));
    buttons.next.addEventListener("click", next);
    buttons.all.addEventListener("click", all);

    function cover() {
      [done, shown] = [0, false];
      const images = element.querySelector(".images");
      if (images) images.open = true;
      draw();
    }

    function play() {
      if (done === steps.length) cover();
      pause();
      timer = setTimeout(tick, done || shown ? SHOW_VERDICT : SHOW_IMAGE);
      draw();
    }

    function pause() {
      clearTimeout(timer);
      timer = null;
      draw();
    }

    function tick() {
      timer = null;
      if (shown) return uncover(1);
      shown = true;
      timer = setTimeout(tick, SHOW_IMAGE);
      draw();
    }

    function next() {
      const playing = timer !== null;
      clearTimeout(timer);
      timer = null;
      uncover(1, playing);
    }

    function all() {
      clearTimeout(timer);
      timer = null;
      uncover(steps.length - done, false);
    }

    function uncover(count, goOn = true) {
      const before = done;
      done = Math.min(done + count, steps.length);
      shown = false;
      if (done < steps.length && goOn) {
        const same = steps[done].direction === steps[done - 1].direction;
        timer = setTimeout(tick, same ? SHOW_VERDICT : BETWEEN_DIRECTIONS);
      }
      draw();
      if (done === steps.length && before < done) reveal.onEnd();
    }

    function draw() {
      const playing = done < steps.length;
      root.classList.toggle("revealing", playing);
      element.classList.toggle("playing", playing);
      steps.forEach((step, index) => {
        for (const tile of step.tiles) {
          tile.classList.toggle("covered", index >= done);
          tile.classList.toggle("now", playing && index === done - (shown ? 0 : 1));
        }
      });
      const current = Math.min(shown ? done : Math.max(done - 1, 0), steps.length - 1);
      for (const direction of directions) {
        const left = steps.some((step, index) => step.direction === direction && index >= done);
        direction.classList.toggle("current", direction === steps[current].direction);
        direction.classList.toggle("complete", !left);
      }
      drawSpotlight(steps[current], shown ? "image" : done ? "verdict" : "nothing");
      drawScores(element, steps.slice(0, done));
      document.getElementById("progress").textContent = playing ? `${done} of ${steps.length}` : "";
      buttons.play.textContent = timer ? "Pause" : playing ? "Play" : "Play again";
      buttons.next.disabled = buttons.all.disabled = !playing;
    }

    return reveal;
  }

  function stepsOf(direction) {
    const tiles = [...direction.querySelectorAll(".tile")];
    const side = direction.dataset.d;
    const extra = "extra" in direction.dataset;
    if ("failed" in direction.dataset) {
      return [{ direction, side, extra, tiles, value: Number(direction.dataset.points) }];
    }
    return tiles.map((tile) => ({ direction, side, extra, tiles: [tile], value: Number(tile.dataset.right) }));
  }

  function drawScores(element, done) {
    for (const [name, extra] of [["score", false], ["extra", true]]) {
      for (const score of element.querySelectorAll(`[data-${name}="a"], [data-${name}="b"]`)) {
        const mine = done.filter((step) => step.side === score.dataset[name] && step.extra === extra);
        score.textContent = mine.reduce((sum, step) => sum + step.value, 0);
      }
    }
  }

  function drawSpotlight(step, phase) {
    const spotlight = step.direction.querySelector(".spotlight");
    if (!spotlight) return;
    const { p, real, right } = step.tiles[0].dataset;
    const known = phase === "verdict";
    const picture = spotlight.querySelector(".picture");
    picture.style.backgroundPosition = step.tiles[0].querySelector(".picture").style.backgroundPosition;
    picture.classList.toggle("covered", phase === "nothing");
    spotlight.classList.toggle("right", known && right === "1");
    spotlight.classList.toggle("wrong", known && right === "0");
    spotlight.querySelector(".mark").textContent = known ? (right === "1" ? "✓" : "✗") : "";
    const needle = spotlight.querySelector(".scale i");
    needle.hidden = !known;
    needle.style.left = `${100 * Number(p)}%`;
    const says = Number(p) > 0.5 ? "real" : "generated";
    const is = real === "1" ? "real" : "generated";
    spotlight.querySelector(".caption span").textContent = known ? `D says ${says} (p ${Number(p).toFixed(2)}).` : "";
    spotlight.querySelector(".caption b").textContent = known ? `It is ${is}.` : "Real or generated?";
  }

  function addKeys(reveal) {
    if (!link("up")) return; // the index is a page to scroll in
    const help = document.querySelector(".keys");
    if (help) help.hidden = false;
    document.addEventListener("keydown", (event) => {
      if (event.ctrlKey || event.altKey || event.metaKey) return;
      const onControl = event.target.closest("a, button, input, summary");
      const arrow = { ArrowLeft: "prev", ArrowRight: "next" }[event.key];
      if (arrow && link(arrow)) {
        location.assign(link(arrow).getAttribute("href") + (show ? "?show" : ""));
      } else if (!onControl && reveal && !reveal.ended() && (event.key === " " || event.key === "Enter")) {
        event.preventDefault();
        if (event.key === " ") reveal.next();
        else reveal.all();
      }
    });
  }

  // A page that reloads itself would close what its reader has opened.
  function keepDetailsOpen() {
    for (const details of document.querySelectorAll("details[id]")) {
      const key = `open ${location.pathname} ${details.id}`;
      const kept = store && store.getItem(key);
      if (kept) details.open = kept === "yes";
      details.addEventListener("toggle", () => store && store.setItem(key, details.open ? "yes" : "no"));
    }
  }
})();
