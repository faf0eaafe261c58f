"""The pages of mixed.conf: Django as a WSGI app. One file here; a project of yours stays as it is, with module = "project.wsgi"."""

import os
import threading

from django.conf import settings
from django.core.wsgi import get_wsgi_application
from django.http import HttpResponse, JsonResponse
from django.middleware.csrf import get_token
from django.urls import path

settings.configure(SECRET_KEY=os.environ.get("SECRET_KEY") or os.urandom(32).hex(), ALLOWED_HOSTS=["*"], ROOT_URLCONF=__name__,
                   MIDDLEWARE=["django.middleware.common.CommonMiddleware", "django.middleware.csrf.CsrfViewMiddleware"])

PAGE = """<!DOCTYPE html><html lang="en"><meta charset="utf-8"><title>Shop</title>
<h1>Shop</h1><p id="item">…</p><ul id="said"></ul>
<form method="post" action="/order"><input type="hidden" name="csrfmiddlewaretoken" value="%s"><input name="what"><button>Order</button></form>
<form id="talk"><input id="words"><button>Say</button></form>
<script>
fetch('/api/items/7').then(answer => answer.json()).then(item => document.getElementById('item').textContent = JSON.stringify(item));
let live;
function join() {
    live = new WebSocket(location.origin.replace('http', 'ws') + '/live');
    live.onmessage = event => document.getElementById('said').append(Object.assign(document.createElement('li'), {textContent: event.data}));
    live.onclose = () => setTimeout(join, 1000 + 2000 * Math.random());
}
join();
document.getElementById('talk').onsubmit = event => { event.preventDefault(); live.send(document.getElementById('words').value); };
</script></html>"""


def index(request):
    return HttpResponse(PAGE % get_token(request))


def order(request):
    return JsonResponse({"ordered": request.POST.get("what", ""), "client": request.META["REMOTE_ADDR"], "thread": threading.current_thread().name})


urlpatterns = [path("", index), path("order", order)]
application = get_wsgi_application()
