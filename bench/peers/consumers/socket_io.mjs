// socket.io with its Redis adapter, a room for each user, as its documentation has it; WebSocket alone, nothing compressed.
import { createAdapter } from "@socket.io/redis-adapter";
import Redis from "ioredis";
import { createServer } from "node:http";
import { Server } from "socket.io";

const publisher = new Redis(process.env.REDIS_URL);
const http = createServer();
const io = new Server(http, {
  transports: ["websocket"],
  perMessageDeflate: false,
  serveClient: false,
  adapter: createAdapter(publisher, publisher.duplicate()),
});
io.on("connection", (socket) => socket.join(socket.handshake.auth.user));
http.listen(Number(process.env.PORT), "127.0.0.1", 4096, () => console.log("ready"));
