// The package ws of npm against an echo: node ws_client.cjs PACKAGE URL. Prints "fine", or what is wrong.
'use strict';
const assert = require('node:assert');
const WebSocket = require(process.argv[2]);

function once(emitter, name) {
    return new Promise((resolve, reject) => {
        emitter.once(name, (...args) => resolve(args));
        if (name !== 'error')
            emitter.once('error', reject);
    });
}

async function talk(options) {
    const ws = new WebSocket(process.argv[3] + '/echo', options);
    await once(ws, 'open');
    assert.strictEqual(ws.extensions.includes('permessage-deflate'), options.perMessageDeflate !== false);
    for (const text of ['hello', '', 'é'.repeat(5000), 'x'.repeat(70000)]) {
        ws.send(text);
        const [data, binary] = await once(ws, 'message');
        assert.strictEqual(binary, false);
        assert.strictEqual(data.toString(), text);
    }
    const bytes = Buffer.alloc(1000000, 'some bytes ');
    ws.send(bytes);
    const [data, binary] = await once(ws, 'message');
    assert(binary && data.equals(bytes));
    for (const [piece, fin] of [['in ', false], ['three ', false], ['pieces', true]])
        ws.send(piece, {fin});
    assert.strictEqual((await once(ws, 'message'))[0].toString(), 'in three pieces');
    ws.ping('beat');
    assert.strictEqual((await once(ws, 'pong'))[0].toString(), 'beat');
    ws.close(4001, 'enough');
    const [code] = await once(ws, 'close');
    assert.strictEqual(code, 4001);
}

async function main() {
    for (const options of [{perMessageDeflate: true}, {perMessageDeflate: false}, {perMessageDeflate: {clientMaxWindowBits: 10, threshold: 0}}])
        await talk(options);
    const refused = new WebSocket(process.argv[3] + '/refuse');
    const [error] = await once(refused, 'error');
    assert.match(error.message, /403/);
    console.log('fine');
}

main().catch(error => {
    console.log(error.stack);
    process.exitCode = 1;
});
