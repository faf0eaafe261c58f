"""The API of mixed.conf. Requests come with their whole path; root_path tells FastAPI how much of it leads here. Its pages are at /api/docs."""

import asyncio
from contextlib import asynccontextmanager

from fastapi import FastAPI, Request
from fastapi.responses import StreamingResponse


@asynccontextmanager
async def lifespan(app):
    app.state.items = {7: "seven"}          # a pool of database connections, say
    yield


app = FastAPI(title="Shop", root_path="/api", lifespan=lifespan)


@app.get("/items/{number}")
async def item(number: int, request: Request):
    return {"number": number, "name": app.state.items.get(number), "client": request.client.host, "url": str(request.url)}


@app.post("/items")
async def size(request: Request):
    return {"bytes": sum([len(piece) async for piece in request.stream()])}


@app.get("/ticks")
async def ticks(count: int = 3):
    async def lines():
        for number in range(count):
            yield f"data: {number}\n\n"
            await asyncio.sleep(0.05)
    return StreamingResponse(lines(), media_type="text/event-stream")
