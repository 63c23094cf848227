"""The site in Django."""

from __future__ import annotations

import json as json_module
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.handlers.wsgi import WSGIHandler
from django.http import (
    FileResponse,
    HttpRequest,
    HttpResponse,
    HttpResponseBase,
    HttpResponseRedirect,
    JsonResponse,
    StreamingHttpResponse,
)
from django.urls import path
from django.views.decorators.csrf import csrf_exempt

from wsgi_apps.content import BLOCKS, LARGE, BrokenError, digest

served: list[Path] = []


def query(request: HttpRequest) -> HttpResponseBase:
    return JsonResponse({"args": request.GET.dict(), "path": request.path})


@csrf_exempt
def form(request: HttpRequest) -> HttpResponseBase:
    return JsonResponse(request.POST.dict())


@csrf_exempt
def json(request: HttpRequest) -> HttpResponseBase:
    return JsonResponse(json_module.loads(request.body), safe=False)


@csrf_exempt
def upload(request: HttpRequest) -> HttpResponseBase:
    given: Any = request.FILES["file"]
    whole = digest(given.read())
    return JsonResponse({"name": given.name, "digest": whole, **request.POST.dict()})


def stream(request: HttpRequest) -> HttpResponseBase:
    return StreamingHttpResponse(iter(BLOCKS), content_type="text/plain")


def large(request: HttpRequest) -> HttpResponseBase:
    return HttpResponse(LARGE, content_type="application/octet-stream")


def cookie(request: HttpRequest) -> HttpResponseBase:
    reply = HttpResponse(request.COOKIES.get("a", "none"))
    reply.set_cookie("a", "1")
    reply.set_cookie("b", "2")
    return reply


def redirect(request: HttpRequest) -> HttpResponseBase:
    return HttpResponseRedirect("/query")


def nothing(request: HttpRequest) -> HttpResponseBase:
    return HttpResponse(status=204)


def error(request: HttpRequest) -> HttpResponseBase:
    raise BrokenError


def file(request: HttpRequest) -> HttpResponseBase:
    return FileResponse(open(served[0], "rb"), content_type="application/octet-stream")


def scheme(request: HttpRequest) -> HttpResponseBase:
    return HttpResponse(request.build_absolute_uri())


views = (query, form, json, upload, stream, large, cookie, redirect, nothing, error, file, scheme)
urlpatterns = [path(view.__name__, view) for view in views]


def make_app(path: Path) -> Any:
    served[:] = [path]
    if not settings.configured:
        settings.configure(
            ALLOWED_HOSTS=["127.0.0.1"],
            DEBUG=False,
            LOGGING_CONFIG=None,
            MIDDLEWARE=["django.middleware.common.CommonMiddleware"],
            ROOT_URLCONF=__name__,
            SECRET_KEY="of the tests",
            FILE_UPLOAD_MAX_MEMORY_SIZE=64 * 1024,
        )
        import django

        django.setup()
    return WSGIHandler()
