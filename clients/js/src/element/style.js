/** The element's look. Colours come from the page's `color-scheme`; every custom property may be set from outside. */
const CSS = `
:host {
  --_accent: var(--outbox-accent, light-dark(#4f5bd5, #9aa3ff));
  --_accent-ink: var(--outbox-accent-ink, light-dark(#fff, #10131c));
  --_surface: var(--outbox-surface, light-dark(#fff, #181b24));
  --_ink: var(--outbox-ink, light-dark(#1a1d29, #edeff6));
  --_soft: var(--outbox-soft, light-dark(#5d6477, #a3abbe));
  --_line: var(--outbox-line, light-dark(#e5e7ef, #2a2f3d));
  --_tint: var(--outbox-tint, light-dark(#f4f5ff, #1f2438));
  --_hover: var(--outbox-hover, light-dark(#eceef5, #262b3a));
  --_alert: var(--outbox-alert, light-dark(#c8324a, #ff7187));
  --_alert-ink: var(--outbox-alert-ink, light-dark(#fff, #2a0710));
  --_radius: var(--outbox-radius, 14px);
  --_font: var(--outbox-font, 15px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif);
  display: inline-block;
  color: var(--_ink);
  font: var(--_font);
  -webkit-font-smoothing: antialiased;
}
:host([hidden]), [hidden] { display: none !important; }
:host([inline]) { display: block; }
:host([theme="light"]) { color-scheme: light; }
:host([theme="dark"]) { color-scheme: dark; }
* { box-sizing: border-box; }
p, h2, h3 { margin: 0; font: inherit; }
button, a { font: inherit; color: inherit; }
button { border: 0; background: none; cursor: pointer; -webkit-tap-highlight-color: transparent; }
svg { display: block; fill: none; stroke: currentColor; stroke-width: 1.6; stroke-linecap: round; stroke-linejoin: round; }
:focus-visible { outline: 2px solid var(--_accent); outline-offset: -2px; }
.unseen { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); white-space: nowrap; }

.bell { position: relative; display: grid; place-items: center; width: 42px; height: 42px; padding: 0; border-radius: 12px; }
.bell:hover, .bell[aria-expanded="true"] { background: var(--_hover); }
.bell:focus-visible { outline-offset: 2px; }
.bell.ring svg { animation: ring .7s ease; transform-origin: 50% 15%; }
.badge {
  position: absolute; inset-block-start: 1px; inset-inline-end: 0; min-width: 18px; height: 18px; padding: 0 5px;
  border-radius: 999px; background: var(--_alert); color: var(--_alert-ink);
  font-size: 11px; font-weight: 700; font-variant-numeric: tabular-nums; line-height: 18px; text-align: center;
}

.panel {
  flex-direction: column; width: var(--outbox-width, 400px); max-width: calc(100vw - 16px);
  max-height: min(var(--outbox-height, 600px), calc(100dvh - 16px)); margin: 0; padding: 0; overflow: hidden;
  border: 1px solid var(--_line); border-radius: var(--_radius); background: var(--_surface); color: inherit;
}
.panel[popover] { position: fixed; inset: auto; box-shadow: 0 16px 48px rgb(10 12 30 / 22%), 0 2px 6px rgb(10 12 30 / 10%); }
.panel:popover-open, .panel:not([popover]) { display: flex; }
:host([inline]) .panel { width: 100%; max-width: none; max-height: var(--outbox-height, none); }

.head { display: flex; align-items: center; gap: 4px; padding-block: 10px; padding-inline: 18px 10px; border-block-end: 1px solid var(--_line); }
.icon.back { margin-inline: -8px 2px; }
.icon.back:dir(rtl) svg { transform: scaleX(-1); }
.heading { flex: 1; min-width: 0; font-size: 1.07em; font-weight: 650; letter-spacing: -.01em; }
.heading span { margin-inline-start: 6px; color: var(--_soft); font-size: .85em; font-weight: 400; letter-spacing: 0; }
.quiet { padding: 6px 10px; border-radius: 8px; color: var(--_accent); font-size: .87em; font-weight: 600; white-space: nowrap; }
.quiet:hover:not(:disabled), .icon:hover:not(:disabled) { background: var(--_hover); }
.quiet:disabled { color: var(--_soft); cursor: default; }
.icon { display: grid; place-items: center; flex: none; width: 32px; height: 32px; padding: 0; border-radius: 8px; color: var(--_soft); }
.icon:hover { color: var(--_ink); }

.notice { display: flex; align-items: center; gap: 8px; min-height: 38px; padding-block: 4px; padding-inline: 18px 10px; border-block-end: 1px solid var(--_line); background: var(--_hover); font-size: .87em; }
.notice span { flex: 1; overflow-wrap: anywhere; }
.notice.bad { color: var(--_alert); }

.body { flex: 1; min-height: 0; overflow-y: auto; overscroll-behavior: contain; scrollbar-width: thin; }
.row { position: relative; display: flex; align-items: stretch; border-block-end: 1px solid var(--_line); }
.row:last-child { border-block-end: 0; }
.row.new { background: var(--_tint); }
.row:hover, .row:focus-within { background: var(--_hover); }
.row.arriving { animation: arrive .4s cubic-bezier(.2, .8, .2, 1); }
.cell { min-width: 0; }
.cell.main { flex: 1; }
.open {
  display: grid; grid-template-columns: 8px 1fr; gap: 12px; width: 100%; height: 100%; padding-block: 13px; padding-inline: 18px 4px;
  border-radius: 0; text-align: start; text-decoration: none; align-content: start;
}
.dot { width: 8px; height: 8px; margin-block-start: 8px; border-radius: 50%; background: var(--_accent); }
.row:not(.new) .dot { visibility: hidden; }
.text { min-width: 0; overflow-wrap: anywhere; }
.text bdi { text-align: match-parent; }
.title { display: -webkit-box; overflow: hidden; font-weight: 600; -webkit-box-orient: vertical; -webkit-line-clamp: 2; }
.row:not(.new) .title { font-weight: 500; }
.words { display: -webkit-box; overflow: hidden; color: var(--_soft); font-size: .93em; white-space: pre-line; -webkit-box-orient: vertical; -webkit-line-clamp: 3; }
.time { display: block; margin-block-start: 2px; color: var(--_soft); font-size: .83em; }
.acts { display: flex; align-items: center; gap: 2px; padding-inline-end: 8px; opacity: 0; }
.row:hover .acts, .row:focus-within .acts { opacity: 1; }
@media (hover: none) { .acts { opacity: 1; } }

.state { display: grid; justify-items: center; gap: 4px; padding: 44px 24px; color: var(--_soft); font-size: .93em; text-align: center; }
.state svg { margin-block-end: 8px; opacity: .7; }
.state strong { color: var(--_ink); font-weight: 600; }
.bone { height: 12px; margin: 8px 18px; border-radius: 6px; background: var(--_hover); animation: pulse 1.4s ease-in-out infinite; }
.bone:nth-child(odd) { width: 55%; margin-block-start: 20px; }
.older { display: block; width: 100%; padding: 12px; color: var(--_accent); font-size: .87em; font-weight: 600; }
.older:disabled { color: var(--_soft); cursor: default; }

.wishes { padding: 4px 18px 16px; }
.wishes fieldset { margin: 0; padding: 0; border: 0; }
.wishes legend { padding: 10px 0 2px; font-weight: 600; }
.wish { display: flex; align-items: center; justify-content: space-between; gap: 12px; padding: 7px 0; cursor: pointer; }
.wish + .wish { border-block-start: 1px solid var(--_line); }
.switch {
  position: relative; flex: none; width: 38px; height: 22px; margin: 0; border-radius: 999px; appearance: none;
  background: var(--_soft); cursor: pointer; transition: background-color .15s;
}
.switch::after {
  content: ""; position: absolute; inset-block-start: 3px; inset-inline-start: 3px; width: 16px; height: 16px;
  border-radius: 50%; background: var(--_surface); transition: inset-inline-start .15s;
}
.switch:checked { background: var(--_accent); }
.switch:checked::after { inset-inline-start: 19px; }
.switch:focus-visible { outline-offset: 2px; }
.switch:disabled { opacity: .5; cursor: default; }

@keyframes arrive { from { opacity: 0; transform: translateY(-10px); } }
@keyframes pulse { 50% { opacity: .45; } }
@keyframes ring { 20% { transform: rotate(14deg); } 45% { transform: rotate(-11deg); } 70% { transform: rotate(6deg); } }
@media (prefers-reduced-motion: reduce) { * { animation: none !important; transition: none !important; } }
@media (forced-colors: active) { .dot, .badge, .switch { forced-color-adjust: none; } .row.new .title { text-decoration: underline; } }
`;

/** Constructed, because a strict Content-Security-Policy refuses <style> and style="". */
export function sheet() {
  const made = new CSSStyleSheet();
  made.replaceSync(CSS);
  return made;
}
