// pg-transactional-outbox → Redis stream by its replication listener: "receives new messages immediately", where its
// polling listener waits for the next poll and reads all that is unprocessed for each batch (README, "Logical
// replication vs. polling"). As the README's outbox example has it, the protections meant for an inbox are off; in
// parallel by the semaphore strategy, with a connection for each.
//
// `install` as argument makes table, publication and slot, from the setup that the package exports.
import Redis from "ioredis";
import pg from "pg";
import {
  DatabaseSetup,
  createReplicationSemaphoreConcurrencyController,
  getDisabledLogger,
  initializeReplicationMessageListener,
} from "pg-transactional-outbox";

const parallel = 20;
const connectionString = process.env.DATABASE_URL;
const database = decodeURIComponent(new URL(connectionString).pathname.slice(1));
const replicationSlot = `${database}_slot`; // a slot's name is the server's, not the database's
const publication = "outbox_pub";

async function install() {
  const setup = {
    outboxOrInbox: "outbox",
    database,
    schema: "public",
    table: "outbox",
    listenerRole: "CURRENT_USER",
    publication,
    replicationSlot,
  };
  const client = new pg.Client({ connectionString });
  await client.connect();
  await client.query(DatabaseSetup.dropAndCreateTable(setup));
  await client.query(DatabaseSetup.setupReplicationCore(setup));
  await client.query("SELECT pg_create_logical_replication_slot($1, 'pgoutput')", [replicationSlot]);
  await client.end();
}

async function listening() {
  const client = new pg.Client({ connectionString });
  await client.connect();
  const active = "SELECT active FROM pg_replication_slots WHERE slot_name = $1";
  while (!(await client.query(active, [replicationSlot])).rows[0].active) {
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  await client.end();
}

async function listen() {
  const redis = new Redis(process.env.REDIS_URL, { enableAutoPipelining: true });
  const stream = process.env.STREAM;
  const handler = {
    handle: (message) => redis.xadd(stream, "*", "payload", JSON.stringify(message.payload)),
  };
  const config = {
    outboxOrInbox: "outbox",
    dbListenerConfig: { connectionString },
    dbHandlerConfig: { connectionString, max: parallel },
    settings: {
      dbSchema: "public",
      dbTable: "outbox",
      dbPublication: publication,
      dbReplicationSlot: replicationSlot,
      enableMaxAttemptsProtection: false,
      enablePoisonousMessageProtection: false,
    },
  };
  const [shutdown] = initializeReplicationMessageListener(config, handler, getDisabledLogger(), {
    concurrencyStrategy: createReplicationSemaphoreConcurrencyController(parallel),
  });
  process.once("SIGTERM", async () => {
    await shutdown();
    redis.disconnect();
  });
  await listening();
  console.log("ready");
}

await (process.argv[2] === "install" ? install() : listen());
