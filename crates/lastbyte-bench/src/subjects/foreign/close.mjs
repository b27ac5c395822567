// Closes connections with Node: end(), then the event "close".
import net from 'node:net';
import readline from 'node:readline';

const accepted = [];
let answering = 0;
let served = 0;
let reached = () => {};

const server = net.createServer((socket) => {
  socket.on('error', () => {});
  if (answering) {
    let got = 0;
    socket.on('data', (chunk) => {
      got += chunk.length;
      if (got === 64) socket.end(Buffer.alloc(1024, 'r'));
    });
    socket.on('close', () => { served += 1; reached(); });
  } else {
    accepted.push(socket);
    reached();
  }
});

const until = (done) => new Promise((resolve) => {
  reached = () => { if (done()) resolve(); };
  reached();
});

const close = (socket) => new Promise((resolve) => {
  socket.on('close', resolve);
  socket.resume();
  socket.end();
});

server.listen({ port: 0, host: '127.0.0.1', backlog: 4096 }, async () => {
  console.log(server.address().port);
  for await (const line of readline.createInterface({ input: process.stdin })) {
    const [word, number] = line.split(' ');
    const n = Number(number);
    if (word === 'accept') {
      await until(() => accepted.length === n);
    } else if (word === 'respond') {
      for (const socket of accepted) socket.write(Buffer.alloc(n, 'x'));
    } else if (word === 'close') {
      await Promise.all(accepted.splice(0).map(close));
    } else if (word === 'serve') {
      served = 0;
      answering = n;
      console.log('ok');
      await until(() => served === n);
      answering = 0;
    }
    console.log('ok');
  }
  process.exit(0);
});
