export { InboxClient } from "./client.js";
export { Inbox } from "./protocol.js";
export { ApiError, UserApi } from "./api.js";
