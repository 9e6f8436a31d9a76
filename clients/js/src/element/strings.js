/** What the element says. Set `element.strings` to replace any of it; `{…}` is filled in. */
export const STRINGS = {
  notifications: "Notifications",
  bell: "Notifications, {count} unread",
  unread: "{count} unread",
  unreadItem: "Unread.",
  readAll: "Mark all read",
  markRead: "Mark as read: {title}",
  markUnread: "Mark as unread: {title}",
  archive: "Archive: {title}",
  archived: "Archived.",
  undo: "Undo",
  archiveHeading: "Archive",
  archiveEmpty: "Nothing is archived.",
  unarchive: "Move back to the list: {title}",
  unarchived: "Moved back to the list: {title}",
  preferences: "Preferences",
  back: "Back to notifications",
  close: "Close",
  empty: "All quiet",
  emptyMore: "What is sent to you shows up here at once.",
  loading: "Loading…",
  connecting: "Connecting…",
  offline: "No connection. It goes on by itself.",
  ended: "Signed out: {reason}",
  older: "Show older",
  failed: "That did not work: {reason}",
  retry: "Try again",
  new: "New: {title}",
  newMany: "{count} new notifications",
  saved: "Saved.",
  everything: "Everything",
  inapp: "In this inbox",
  email: "E-mail",
  sms: "Text message",
  push: "Push",
  now: "just now",
};

/** @typedef {typeof STRINGS} Strings */

/** @param {string} text @param {Record<string, string | number>} values */
export function fill(text, values) {
  return text.replace(/\{(\w+)\}/g, (whole, name) => String(values[name] ?? whole));
}

/** @type {[number, Intl.RelativeTimeFormatUnit][]} */
const STEPS = [[60, "second"], [60, "minute"], [24, "hour"], [7, "day"], [4.35, "week"], [12, "month"], [Infinity, "year"]];

/** How long ago, in words. @param {string} moment @param {string} language @param {string} now */
export function ago(moment, language, now) {
  let amount = (new Date(moment).getTime() - Date.now()) / 1000;
  if (amount > -45) return now;
  const words = new Intl.RelativeTimeFormat(language, { numeric: "auto" });
  for (const [size, unit] of STEPS) {
    if (Math.abs(amount) < size) return words.format(Math.round(amount), unit);
    amount /= size;
  }
  return "";
}
