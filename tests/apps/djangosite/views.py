import hashlib
import os
import time

from django.http import FileResponse, HttpResponse, JsonResponse, StreamingHttpResponse
from django.middleware.csrf import get_token
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import condition


def index(request):
    return HttpResponse("<h1>A Django site</h1>")


def gate(request):
    """Holds its thread until the file GATE is there."""
    for _ in range(3000):
        if os.path.exists(os.environ["GATE"]):
            return HttpResponse("open")
        time.sleep(0.02)
    return HttpResponse("shut", status=503)


def upload_form(request):
    token = get_token(request)
    return HttpResponse(f'<form method="post" action="/upload" enctype="multipart/form-data">'
                        f'<input type="hidden" name="csrfmiddlewaretoken" value="{token}"><input type="file" name="file"></form>')


def upload(request):
    """Behind the CSRF check, as a real form."""
    files = {}
    for name, file in request.FILES.items():
        digest = hashlib.sha256()
        for chunk in file.chunks():
            digest.update(chunk)
        files[name] = {"name": file.name, "size": file.size, "type": file.content_type, "sha256": digest.hexdigest()}
    fields = {name: value for name, value in request.POST.items() if name != "csrfmiddlewaretoken"}
    return JsonResponse({"fields": fields, "files": files})


def stream(request):
    count = int(request.GET.get("count", 10))
    return StreamingHttpResponse((f"line {number}\n" for number in range(count)), content_type="text/plain")


def download(request):
    return FileResponse(open(__file__, "rb"), as_attachment=True, filename="views.py")


@condition(etag_func=lambda request: '"one"')
def facts(request):
    return JsonResponse({"method": request.method, "path": request.path, "query": request.GET.dict(), "host": request.get_host(),
                         "secure": request.is_secure(), "remote": request.META["REMOTE_ADDR"], "uri": request.build_absolute_uri(),
                         "agent": request.headers.get("User-Agent", "")})


@csrf_exempt
def fails(request):
    raise ValueError("this view fails on purpose")


def stream_fails(request):
    def lines():
        yield "the first line\n"
        raise ValueError("this stream fails on purpose")
    return StreamingHttpResponse(lines())
