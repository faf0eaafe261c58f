"use strict";

function show(id, text, good) {
    const cell = document.getElementById(id);
    cell.textContent = text;
    cell.className = good ? "ok" : "bad";
}

async function check(id, run) {
    try {
        show(id, await run(), true);
    } catch (error) {
        show(id, String(error), false);
    }
}

async function text(url, options) {
    const answer = await fetch(url, options);
    if (!answer.ok) {
        throw new Error(`${url}: ${answer.status}`);
    }
    return (await answer.text()).trim();
}

function echo(word) {
    return new Promise((done, failed) => {
        const socket = new WebSocket(`wss://${location.host}/ws`);
        socket.onopen = () => socket.send(word);
        socket.onmessage = (event) => { done(event.data); socket.close(); };
        socket.onerror = () => failed(new Error("no WebSocket"));
    });
}

check("static", () => text("/static/hello.txt"));
check("api", () => text("/api/who"));
check("ws", () => echo("hello over a tunnel"));
check("php", () => text("/php/hello.php?name=edge"));
check("upload", async () => {
    const answer = JSON.parse(await text("/upload", { method: "POST", body: new Uint8Array(1 << 20) }));
    return `${answer.bytes} bytes, sha256 ${answer.sha256.slice(0, 12)}`;
});
