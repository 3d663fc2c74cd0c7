// The checks of test/clients with @stomp/stompjs, over TCP or, with STOMP_URL, WebSocket. See ../doc.go for what each one means.

import { readFileSync } from 'node:fs';
import { Client, Versions } from '@stomp/stompjs';
import { TCPWrapper } from '@stomp/tcp-wrapper';
import { WebSocket } from 'ws';

const { STOMP_HOST: HOST, STOMP_PORT: PORT, STOMP_PREFIX: PREFIX, STOMP_VERSION: VERSION, STOMP_URL: PLACE } = process.env;
const WAIT = 10_000; // ms for anything that must come
const TEXT = 'Grüße, 世界 🐇';

const sleep = (ms) => new Promise((r) => setTimeout(r, ms));

// Arrivals are waited for one by one.
class Arrivals {
  #there = [];
  #waiting = [];

  push(x) {
    const next = this.#waiting.shift();
    if (next) next(x);
    else this.#there.push(x);
  }

  next(what) {
    if (this.#there.length > 0) return Promise.resolve(this.#there.shift());
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => reject(new Error(`no ${what} in time`)), WAIT);
      this.#waiting.push((x) => {
        clearTimeout(timer);
        resolve(x);
      });
    });
  }
}

class Check {
  messages = new Arrivals();
  errors = new Arrivals();
  ended = new Arrivals();
  #serial = 0;

  static async connect(options = {}) {
    const check = new Check();
    const opened = new Arrivals();
    check.c = new Client({
      webSocketFactory: () => (PLACE ? new WebSocket(PLACE, [`v${VERSION.replace('.', '')}.stomp`], { rejectUnauthorized: false }) : new TCPWrapper(HOST, PORT)),
      splitLargeFrames: Boolean(PLACE),
      stompVersions: new Versions([VERSION]),
      connectHeaders: {
        login: process.env.STOMP_LOGIN ?? 'guest',
        passcode: process.env.STOMP_PASSCODE ?? 'guest',
        host: process.env.STOMP_VHOST ?? 'localhost',
      },
      reconnectDelay: 0,
      heartbeatIncoming: 0,
      heartbeatOutgoing: 0,
      debug: process.env.STOMP_DEBUG ? (line) => console.log(`# ${line.replaceAll('\n', '\n# ')}`) : () => {},
      onConnect: (frame) => opened.push(frame),
      onStompError: (frame) => {
        check.errors.push(frame);
        opened.push(new Error(`ERROR ${frame.headers.message}: ${frame.body}`));
      },
      onWebSocketClose: (event) => check.ended.push(event),
      ...options,
    });
    check.c.activate();
    check.connected = await opened.next('CONNECTED');
    if (check.connected instanceof Error) throw check.connected;
    return check;
  }

  // confirmed resolves when the receipt of what is about to be sent has come.
  confirmed(act) {
    const receipt = `r${++this.#serial}`;
    const came = new Arrivals();
    this.c.watchForReceipt(receipt, (frame) => came.push(frame));
    act(receipt);
    return came.next(`receipt ${receipt}`);
  }

  send(destination, body, headers = {}) {
    const what = typeof body === 'string' ? { body } : { binaryBody: body };
    return this.confirmed((receipt) => this.c.publish({ destination, ...what, headers: { ...headers, receipt } }));
  }

  async subscribe(destination, ack = 'auto', id = 's1') {
    let subscription;
    await this.confirmed((receipt) => {
      subscription = this.c.subscribe(destination, (m) => this.messages.push(m), { id, ack, receipt });
    });
    return subscription;
  }

  message() {
    return this.messages.next('message');
  }

  async expect(...bodies) {
    const frames = [];
    for (const want of bodies) {
      const m = await this.message();
      must(m.body === want, `got ${m.body} after ${frames.map((f) => f.body)}, want ${bodies}`);
      frames.push(m);
    }
    return frames;
  }

  ack(m, headers = {}) {
    return this.confirmed((receipt) => m.ack({ ...headers, receipt }));
  }

  // Waits for the receipt of DISCONNECT.
  async leave() {
    let left;
    this.c.onDisconnect = (frame) => (left = frame);
    await this.c.deactivate();
    must(left?.command === 'RECEIPT', 'no receipt of DISCONNECT');
  }

  // The socket ends without DISCONNECT, as when the process is killed.
  async vanish() {
    if (PLACE) this.c.webSocket.terminate();
    else this.c.webSocket.socket.resetAndDestroy();
    await this.ended.next('end of the connection');
  }
}

async function fill(destination, ...bodies) {
  const c = await Check.connect();
  for (const b of bodies) await c.send(destination, b);
  await c.leave();
}

function must(what, why) {
  if (!what) throw new Error(`not so: ${why}`);
}

function redelivered(m) {
  must(m.headers.redelivered === 'true', `redelivered:true in ${JSON.stringify(m.headers)}`);
}

const numbers = (n) => Array.from({ length: n }, (_, i) => String(i));

const checks = {
  async connect() {
    const c = await Check.connect();
    must((c.connected.headers.version ?? '1.0') === VERSION, c.connected.headers.version);
    must(c.connected.headers.session, 'session');
    await c.leave();
  },

  async 'heart-beat'() {
    let lost = false;
    const beats = { '>>> PING': 0, '<<< PONG': 0 };
    const c = await Check.connect({
      heartbeatIncoming: 300,
      heartbeatOutgoing: 300,
      heartbeatToleranceMultiplier: 15,
      onHeartbeatLost: () => (lost = true),
      debug: (line) => line in beats && beats[line]++,
    });
    await sleep(6000); // longer than either side waits for a beat, which a busy machine may keep back
    must(!lost && c.c.connected, 'the connection lasts');
    must(beats['>>> PING'] >= 2 && beats['<<< PONG'] >= 2, `beats ${JSON.stringify(beats)}`);
    await c.subscribe(`${PREFIX}beat`);
    await c.send(`${PREFIX}beat`, 'alive');
    await c.expect('alive');
    await c.leave();
  },

  async text() {
    const c = await Check.connect();
    await c.subscribe(`${PREFIX}text`);
    for (const body of [TEXT, '', 'a', 'ends in newline\n', TEXT.repeat(5000)]) {
      await c.send(`${PREFIX}text`, body, { 'content-type': 'text/plain' });
      const m = await c.message();
      must(m.body === body, `${m.body.length} characters, want ${body.length}`);
      must(m.headers['content-type'] === 'text/plain', 'content-type');
      must(m.headers.destination === `${PREFIX}text`, 'destination');
      must(m.headers['message-id'], 'message-id');
    }
    // Without content-length the NUL ends the body.
    c.c.publish({ destination: `${PREFIX}text`, body: TEXT, skipContentLengthHeader: true });
    await c.expect(TEXT);
    await c.leave();
  },

  async headers() {
    const c = await Check.connect();
    await c.subscribe(`${PREFIX}headers`);
    const want = { plain: 'value', 'utf-8': TEXT, 'name-ü': '1' };
    // The library escapes in 1.2 only, trims what it receives, and decodes \\n wrongly:
    // what that spoils is not tried.
    if (VERSION === '1.2') {
      Object.assign(want, { colon: 'a:b::c', lines: 'one\ntwo', backslash: 'C:\\dir\\', empty: '', return: 'a\r\nb' });
    }
    await c.send(`${PREFIX}headers`, 'x', want);
    const got = (await c.message()).headers;
    for (const [name, value] of Object.entries(want)) {
      must(got[name] === value, `${name} is ${JSON.stringify(got[name])}, want ${JSON.stringify(value)}`);
    }
    await c.leave();
  },

  async binary() {
    const c = await Check.connect();
    await c.subscribe(`${PREFIX}binary`);
    const all = Uint8Array.from({ length: 256 * 300 }, (_, i) => i % 256);
    for (const body of [Uint8Array.of(0), Uint8Array.of(65, 0, 66, 0, 0), all, Uint8Array.of(10, 0, 10)]) {
      await c.send(`${PREFIX}binary`, body);
      const got = (await c.message()).binaryBody;
      must(Buffer.compare(Buffer.from(got), Buffer.from(body)) === 0, `${got.length} bytes, want ${body.length}`);
    }
    await c.leave();
  },

  async receipts() {
    const c = await Check.connect();
    await Promise.all(numbers(100).map((body) => c.send(`${PREFIX}receipts`, body)));
    const subscription = await c.subscribe(`${PREFIX}receipts`);
    await c.expect(...numbers(100));
    await c.confirmed((receipt) => subscription.unsubscribe({ receipt }));
    await c.leave();
  },

  async order() {
    const c = await Check.connect();
    await c.subscribe(`${PREFIX}order`);
    for (const body of numbers(1000)) c.c.publish({ destination: `${PREFIX}order`, body });
    await c.expect(...numbers(1000));
    await c.leave();
  },

  async 'ack client'() {
    const q = `${PREFIX}ack-client`;
    await fill(q, '1', '2', '3');
    let c = await Check.connect();
    await c.subscribe(q, 'client');
    await c.ack((await c.expect('1', '2', '3'))[1]); // and with it the first
    await c.leave();
    await fill(q, 'end');
    c = await Check.connect();
    await c.subscribe(q);
    redelivered((await c.expect('3', 'end'))[0]);
    await c.leave();
  },

  async 'ack client-individual'() {
    const q = `${PREFIX}ack-individual`;
    await fill(q, '1', '2', '3');
    let c = await Check.connect();
    await c.subscribe(q, 'client-individual');
    await c.ack((await c.expect('1', '2', '3'))[1]);
    await c.leave();
    await fill(q, 'end');
    c = await Check.connect();
    await c.subscribe(q);
    await c.expect('1', '3', 'end');
    await c.leave();
  },

  async nack() {
    const q = `${PREFIX}nack`;
    await fill(q, 'again');
    const c = await Check.connect();
    await c.subscribe(q, 'client-individual');
    let [m] = await c.expect('again');
    must(m.headers.redelivered !== 'true', 'redelivered:false');
    m.nack();
    [m] = await c.expect('again');
    redelivered(m);
    await c.ack(m);
    await c.leave();
  },

  async commit() {
    const [q, other] = [`${PREFIX}commit`, `${PREFIX}commit-in`];
    await fill(other, 'in');
    const [c, reader] = [await Check.connect(), await Check.connect()];
    await reader.subscribe(q);
    await c.subscribe(other, 'client-individual');
    const [m] = await c.expect('in');
    const tx = c.c.begin('t1');
    for (const body of ['one', 'two']) c.c.publish({ destination: q, body, headers: { transaction: tx.id } });
    await c.ack(m, { transaction: tx.id });
    await c.send(q, 'outside');
    await reader.expect('outside'); // sent last, seen first: the others wait for their commit
    tx.commit();
    await reader.expect('one', 'two');
    await c.leave();
    await fill(other, 'end');
    await reader.subscribe(other, 'auto', 's2');
    await reader.expect('end'); // "in" was acknowledged by the commit
    await reader.leave();
  },

  async abort() {
    const [q, other] = [`${PREFIX}abort`, `${PREFIX}abort-in`];
    await fill(other, 'in');
    const [c, reader] = [await Check.connect(), await Check.connect()];
    await reader.subscribe(q);
    await c.subscribe(other, 'client-individual');
    const [m] = await c.expect('in');
    const tx = c.c.begin('t1');
    await c.send(q, 'never', { transaction: tx.id });
    await c.ack(m, { transaction: tx.id });
    tx.abort();
    await c.send(q, 'end');
    await reader.expect('end');
    await c.leave();
    await reader.subscribe(other, 'auto', 's2');
    redelivered((await reader.expect('in'))[0]); // its ack was never given
    await reader.leave();
  },

  async 'clean leave'() {
    const q = `${PREFIX}clean-leave`;
    await fill(q, '1', '2');
    const [c, other] = [await Check.connect(), await Check.connect()];
    await c.subscribe(q, 'client');
    await c.expect('1', '2');
    await other.subscribe(q, 'client-individual');
    await c.leave();
    for (const m of await other.expect('1', '2')) {
      redelivered(m);
      await other.ack(m);
    }
    await other.leave();
  },

  async 'unclean leave'() {
    const q = `${PREFIX}unclean-leave`;
    await fill(q, '1', '2');
    const [c, other] = [await Check.connect(), await Check.connect()];
    await c.subscribe(q, 'client-individual');
    await c.expect('1', '2');
    const tx = c.c.begin('t1');
    await c.send(q, 'never', { transaction: tx.id });
    await other.subscribe(q, 'client-individual');
    await c.vanish();
    for (const m of await other.expect('1', '2')) {
      redelivered(m);
      await other.ack(m);
    }
    await other.send(q, 'end');
    await other.ack((await other.expect('end'))[0]);
    await other.leave();
  },

  async topic() {
    const t = `${PREFIX.replace(/^\/queue\//, '/topic/')}topic`;
    const readers = [await Check.connect(), await Check.connect(), await Check.connect()];
    for (const r of readers) await r.subscribe(t);
    const want = numbers(20).map((i) => `${i} ${TEXT}`);
    for (const body of want) readers[0].c.publish({ destination: t, body });
    for (const r of readers) {
      await r.expect(...want);
      await r.leave();
    }
  },

  async error() {
    const c = await Check.connect();
    c.c.publish({ destination: `${PREFIX}error`, body: 'x', headers: { transaction: 'no-such', receipt: 'e1' } });
    const f = await c.errors.next('ERROR');
    const h = f.headers;
    must(h.message, 'message');
    must(h['receipt-id'] === 'e1', `receipt-id in ${JSON.stringify(h)}`);
    must((h['error-code'] ?? 'transaction-unknown') === 'transaction-unknown', h['error-code']);
    must((h.message + f.body).includes('no-such'), `a text that names the transaction, not ${h.message}: ${f.body}`);
    await c.ended.next('end after ERROR');
    await (await Check.connect()).leave();
  },
};

// subscribed resolves when c is subscribed with these headers.
const subscribed = (c, destination, id, headers = {}) =>
  c.confirmed((receipt) => c.c.subscribe(destination, (m) => c.messages.push(m), { id, ...headers, receipt }));

const later = () => String(Date.now() + 200);

// As programs use what other brokers have, with the headers of each.
const peers = {
  async ActiveMQ() {
    const q = `${PREFIX}js.amq`;
    const c = await Check.connect({ connectHeaders: { login: 'guest', passcode: 'guest', 'client-id': 'js' } });
    await subscribed(c, q, 's', { ack: 'client-individual', selector: "color = 'red'", 'activemq.prefetchSize': '5' });
    await c.send(q, 'blue', { color: 'blue' });
    await c.send(q, 'later', { color: 'red', AMQ_SCHEDULED_DELAY: '200' });
    await c.send(q, 'red', { color: 'red', JMSXGroupID: 'g', priority: '7' });
    for (const m of await c.expect('red', 'later')) await c.ack(m);
    await subscribed(c, q, 'b', { browser: 'true' });
    await c.expect('blue');
    must((await c.message()).headers.browser === 'end', 'the end of the browser');
    await subscribed(c, '/topic/js.news', 'd', { 'activemq.subscriptionName': 'news' });
    await c.leave();
    const s = await Check.connect();
    await s.send('topic://js.news', 'while away', { expires: String(Date.now() + 600_000) });
    await s.leave();
    const d = await Check.connect({ connectHeaders: { login: 'guest', passcode: 'guest', 'client-id': 'js' } });
    await subscribed(d, '/topic/js.news', 'd', { 'activemq.subscriptionName': 'news' });
    await d.expect('while away');
    await d.leave();
  },

  async RabbitMQ() {
    const c = await Check.connect();
    await subscribed(c, '/exchange/amq.direct/js', 'x');
    await c.send('/exchange/amq.direct/js', 'direct');
    await c.expect('direct');
    const answers = new Arrivals();
    c.c.onUnhandledMessage = (m) => answers.push(m); // nobody subscribed to it: RabbitMQ's clients know it by its id
    await subscribed(c, `${PREFIX}js.rpc`, 'rpc', { 'auto-delete': 'true' });
    await c.send(`${PREFIX}js.rpc`, 'question', { 'reply-to': '/temp-queue/answers', 'correlation-id': '7' });
    await c.send((await c.message()).headers['reply-to'], 'answer', { 'correlation-id': '7' });
    const answer = await answers.next('answer');
    must(answer.body === 'answer' && answer.headers.subscription === '/temp-queue/answers', JSON.stringify(answer.headers));
    const q = `${PREFIX}js.limited`;
    const dead = `${PREFIX}js.dead`;
    await subscribed(c, q, 'q', { ack: 'client', 'x-dead-letter-exchange': '', 'x-dead-letter-routing-key': dead.slice('/queue/'.length), 'prefetch-count': '1' });
    await c.send(q, 'poison');
    const [m] = await c.expect('poison');
    await c.confirmed((receipt) => m.nack({ requeue: 'false', receipt }));
    await subscribed(c, dead, 'dead');
    must((await c.expect('poison'))[0].headers['x-first-death-queue'] === q, 'where it died');
    await c.leave();
  },

  async Artemis() {
    const c = await Check.connect();
    await subscribed(c, 'js.artemis', 'q', { 'subscription-type': 'ANYCAST' });
    for (let i = 0; i < 2; i++) await c.send('js.artemis', 'once', { 'destination-type': 'ANYCAST', _AMQ_DUPL_ID: '1' });
    await c.send('jms.queue.js.artemis', 'later', { _AMQ_SCHED_DELIVERY: later() });
    await c.expect('once', 'later');
    await subscribed(c, 'js.news', 'd', { 'subscription-type': 'MULTICAST', 'durable-subscription-name': 'js' });
    await c.send('js.news', 'news', { 'destination-type': 'MULTICAST' });
    await c.expect('news');
    await c.leave();
  },

  async Apollo() {
    const c = await Check.connect();
    const both = `${PREFIX}js.a,${PREFIX}js.b`;
    await subscribed(c, both, 'both', { ack: 'client-individual', exclusive: 'true', credit: '2,0' });
    await c.send(both, 'twice', { message_group: 'g' });
    for (const m of await c.expect('twice', 'twice')) await c.ack(m);
    await c.send('/topic/js.kept', 'kept', { retain: 'set' });
    await subscribed(c, '/topic/js.*', 'late');
    must((await c.expect('kept'))[0].headers.retained === 'true', 'the topic kept it');
    await c.leave();
  },

  async topics() {
    const c = await Check.connect();
    const other = await Check.connect();
    const patterns = ['/topic/jst.*.end', 'topic://jst.>', '/exchange/amq.topic/jst.#'];
    for (const [i, t] of patterns.entries()) await subscribed(c, t, `w${i}`);
    await other.send('/topic/jst.a.end', 'all');
    const got = (await c.expect('all', 'all', 'all')).map((m) => m.headers.subscription).sort();
    must(got.join() === 'w0,w1,w2', got);
    const group = new Arrivals();
    for (const who of [c, other]) {
      await who.confirmed((receipt) => who.c.subscribe('/topic/jsjobs.*', (m) => group.push(m), { id: 'g', group: 'g', receipt }));
    }
    await c.send('/topic/jsjobs.a', '1');
    await c.send('/topic/jsjobs.b', '2');
    must([(await group.next('one')).body, (await group.next('other')).body].sort().join() === '1,2', 'each once');
    const sub = c.c.subscribe('/topic/jsnews', (m) => c.messages.push(m), { id: 'js', durable: 'true' });
    sub.unsubscribe();
    await c.send('/topic/jsnews', 'kept');
    const again = c.c.subscribe('/topic/jsnews', (m) => c.messages.push(m), { id: 'js', durable: 'true' });
    await c.expect('kept');
    again.unsubscribe({ durable: 'true' });
    await c.send('/topic/jsnews', "nobody's");
    await subscribed(c, '/topic/jsnews', 'js', { durable: 'true' });
    await c.send('/topic/jsnews', 'new');
    await c.expect('new');
    await c.leave();
    await other.leave();
  },

  async replies() {
    const c = await Check.connect();
    await subscribed(c, '/temp-queue/mine', 'mine');
    await subscribed(c, `${PREFIX}js.ask`, 'ask');
    await c.send(`${PREFIX}js.ask`, 'question', { 'reply-to': '/temp-queue/mine' });
    const to = (await c.message()).headers['reply-to'];
    await c.send(to, 'answer');
    await c.expect('answer');
    const thief = await Check.connect();
    thief.c.subscribe(to, () => {}, { id: 't' });
    must((await thief.errors.next('ERROR')).headers['error-code'] === 'access-refused', 'it is not for others');
    c.c.publish({ destination: '/topic/js.nobody', body: 'x', headers: { mandatory: 'true', receipt: 'm' } });
    must((await c.errors.next('ERROR')).headers['error-code'] === 'unroutable', 'nobody is there');
  },

  async replay() {
    const c = await Check.connect();
    await subscribed(c, '/topic/js.stream', 'k', { 'x-queue-type': 'stream' });
    for (const body of '01234') await c.send('/topic/js.stream', body);
    const at = (await c.expect(...'01234'))[2].headers['x-stream-offset'];
    for (const headers of [{ 'from-seq': at }, { 'x-stream-offset': `offset=${at}` }]) {
      const r = await Check.connect();
      await subscribed(r, '/topic/js.stream', 'r', headers);
      await r.expect(...'234');
      await r.leave();
    }
    // Who loses its connection goes on where it was when stompjs has made a new one.
    let next = String(Number(at) + 3);
    const came = new Arrivals();
    const r = await Check.connect({ reconnectDelay: 300 });
    const follow = () => r.c.subscribe('/topic/js.stream', (m) => { next = String(Number(m.headers['x-stream-offset']) + 1); came.push(m.body); }, { id: 'r', 'from-seq': next });
    r.c.onConnect = follow;
    follow();
    await c.send('/topic/js.stream', '5');
    must((await came.next('message')) === '5', 'what comes');
    await r.vanish();
    for (const body of '67') await c.send('/topic/js.stream', body);
    for (const want of '67') must((await came.next('message after the reconnect')) === want, 'the gap');
    await c.send('/topic/js.stream', '8');
    must((await came.next('message')) === '8', 'nothing twice');
    await r.leave();
    await c.leave();
  },

  async figures() {
    const c = await Check.connect();
    await subscribed(c, '/topic/$sys/connect', 'own');
    await subscribed(c, '/topic/ActiveMQ.Advisory.Connection', 'amq');
    const other = await Check.connect();
    // ActiveMQ's name tells of one that left, too: of a check before.
    for (const told = new Set(); told.size < 2;) told.add((await c.message()).headers.subscription);
    await other.send(`${PREFIX}js.counted`, '1');
    await subscribed(c, '/temp-queue/f', 'f');
    await c.send(`ActiveMQ.Statistics.Destination.${PREFIX.slice('/queue/'.length)}js.counted`, '', { 'reply-to': '/temp-queue/f' });
    let answer = await c.message();
    while (answer.headers.subscription !== 'f') answer = await c.message();
    const { size, consumerCount } = answer.headers;
    must(size === '1' && consumerCount === '0', `${size} ${consumerCount}`);
    await other.leave();
    await c.leave();
  },
};

if (VERSION === '1.0') delete checks['heart-beat']; // 1.0 knows none
const chosen = process.env.STOMP_CHECKS === 'peers' ? peers : checks;

const { version } = JSON.parse(readFileSync(new URL('node_modules/@stomp/stompjs/package.json', import.meta.url)));
console.log(`# stompjs ${version}, Node ${process.version}, STOMP ${VERSION}`);
let n = 0;
for (const [name, run] of Object.entries(chosen)) {
  n++;
  try {
    await run();
    console.log(`ok ${n} - ${name}`);
  } catch (e) {
    console.log(`not ok ${n} - ${name}\n# ${e.stack.replaceAll('\n', '\n# ')}`);
  }
}
console.log(`1..${n}`);
process.exit(0); // connections that a failed check left behind
