"""`POST /api/segment` and `GET /api/health`."""

import asyncio
import logging
import tempfile
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Annotated, Any, BinaryIO, Literal

from fastapi import FastAPI, Query, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, JSONResponse, Response
from pydantic import Field, ValidationError
from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from .._printable import printable
from .._provenance import own_version
from . import answers
from .pictures import read_picture
from .reference import reference_page
from .refused import Refused, refusing
from .settings import CrfChoice, ServerSettings
from .studio import Studio
from .work import WorkQueue

log = logging.getLogger("atrous.web")
SLACK = 64 * 1024  # of a multipart form around its picture
SPOOLED = 1024 * 1024  # bytes of a body kept in memory, as of a form's file


class Choice(CrfChoice):
    """What a request may choose, in the query or in the form."""

    format: Literal["png", "json", "overlay"] | None = Field(
        None, description="png: label ids (default); json: classes with run-length masks; overlay: a JPEG to look at."
    )
    crf: bool | None = Field(None, description="false leaves the CRF out. Default: true.")


_FAILURES: dict[int | str, dict[str, Any]] = {
    400: {"model": answers.Failure, "description": "The form cannot be read."},
    408: {"model": answers.Failure, "description": "The upload took too long."},
    413: {"model": answers.Failure, "description": "Too many bytes or pixels."},
    415: {"model": answers.Failure, "description": "No picture."},
    422: {"model": answers.Failure, "description": "A parameter or the picture cannot be used."},
    429: {"model": answers.Failure, "description": "The queue is full; Retry-After says when to ask again."},
    503: {"model": answers.Failure, "description": "The server is going down, or cannot compute this now."},
}


def create_api(studio: Studio, work: WorkQueue, settings: ServerSettings) -> FastAPI:
    """Return the HTTP interface, its schema at /api/openapi.json and its description at /api/docs."""
    app = FastAPI(
        title="atrous",
        version=own_version(),
        description="Semantic segmentation: photos to masks, sharp at the edges.",
        openapi_url="/api/openapi.json",
        docs_url=None,  # these pages fetch their scripts from elsewhere
        redoc_url=None,
    )
    _answer_in_lines(app)

    @app.get("/api/docs", include_in_schema=False)
    def docs(request: Request) -> HTMLResponse:
        return HTMLResponse(reference_page(app.openapi(), str(request.base_url)))

    @app.get("/api/health")
    def health() -> answers.Health:
        """Say that the server is there, and how long its queue is."""
        return answers.Health(
            status="ok",
            version=own_version(),
            model=studio.model,
            classes=list(studio.metadata.classes),
            running=work.running,
            waiting=work.waiting,
            queue=work.limit,
            max_megapixels=settings.max_megapixels,
            max_megabytes=settings.max_megabytes,
        )

    uploads = asyncio.Semaphore(2 * (work.workers + work.limit))

    @app.post(
        "/api/segment",
        response_class=Response,
        responses={
            200: {
                "description": "The segmentation in the chosen format.",
                "content": {
                    "image/png": {"schema": {"type": "string", "format": "binary"}},
                    "image/jpeg": {"schema": {"type": "string", "format": "binary"}},
                    "application/json": {"schema": {"$ref": "#/components/schemas/Found"}},
                },
            },
            **_FAILURES,
        },
        openapi_extra={"requestBody": _request_body()},
    )
    async def segment(request: Request, query: Annotated[Choice, Query()]) -> Response:
        """Segment a photo: the body is the picture, or a form with the field `image`."""
        work.check_room()
        if uploads.locked():
            raise Refused(429, "too many uploads at a time; ask again in 5 s", retry_after=5)
        async with uploads:
            try:
                async with asyncio.timeout(settings.upload_seconds):
                    file, name, fields = await _read_body(request, settings.max_bytes)
            except TimeoutError:
                raise Refused(408, f"the upload took more than {settings.upload_seconds:g} s") from None
            with file:
                choice = _merged(query, fields)
                parameters = None if choice.crf is False else choice.parameters(studio.parameters)

                def compute() -> Response:
                    begun = time.perf_counter()
                    image = read_picture(file, name, settings.max_pixels)
                    with refusing():
                        result = studio.segment(image, parameters)
                        if choice.format == "json":
                            said = answers.found(result, studio.model, parameters, time.perf_counter() - begun)
                            return Response(said.model_dump_json(), media_type="application/json")
                        if choice.format == "overlay":
                            return Response(answers.jpeg(result), media_type="image/jpeg")
                        return Response(answers.png(result), media_type="image/png")

                return await _unless_gone(request, work.run(compute))

    _with_schemas(app)
    return app


async def _unless_gone(request: Request, working: Awaitable[Response]) -> Response:
    """Await the answer; who hangs up before his turn has come leaves the queue."""
    answer = asyncio.ensure_future(working)
    gone = asyncio.ensure_future(_gone(request))
    try:
        await asyncio.wait([answer, gone], return_when=asyncio.FIRST_COMPLETED)
        if not answer.done():
            answer.cancel()
            with suppress(asyncio.CancelledError):
                await answer
            return Response(status_code=499)  # which nobody reads
        return answer.result()
    finally:
        gone.cancel()


async def _gone(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


async def _read_body(request: Request, max_bytes: int) -> tuple[BinaryIO, str, dict[str, str]]:
    """Return the picture's file, its name and the form's other fields; large ones are spooled to the disk."""
    kind = request.headers.get("content-type", "").split(";")[0].strip().lower()
    if kind == "multipart/form-data":
        limited = Request(request.scope, _limited(request, max_bytes, SLACK))
        form = await limited.form(max_files=1, max_fields=len(Choice.model_fields) + 1, max_part_size=4096)
        fields = {key: value for key, value in form.multi_items() if isinstance(value, str)}
        image = form.get("image")
        if not isinstance(image, UploadFile):
            await form.close()
            raise Refused(422, "image: missing; send the picture as the form's file 'image', or as the body itself")
        if (image.size or 0) > max_bytes:
            await form.close()
            raise _too_long(max_bytes)
        return image.file, _short(image.filename or "image"), fields
    if kind.startswith("image/") or kind == "application/octet-stream":
        limited = Request(request.scope, _limited(request, max_bytes, 0))
        return await _spooled(limited), "image", {}
    raise Refused(415, f"{_short(kind) or 'no content type'}: expected a form (multipart/form-data) or image/*")


async def _spooled(request: Request) -> BinaryIO:
    """Return the body as a file, as a form's pictures are: who waits for his turn takes no memory."""
    body = UploadFile(tempfile.SpooledTemporaryFile(max_size=SPOOLED))  # type: ignore[arg-type]  # noqa: SIM115
    try:
        async for part in request.stream():
            await body.write(part)
        await body.seek(0)
    except BaseException:
        await body.close()
        raise
    return body.file


def _limited(request: Request, max_bytes: int, slack: int) -> Callable[[], Awaitable[Any]]:
    length = request.headers.get("content-length", "")
    if length.isdecimal() and int(length) > max_bytes + slack:
        raise _too_long(max_bytes)
    seen = 0

    async def receive() -> Any:
        nonlocal seen
        message = await request.receive()
        seen += len(message.get("body", b""))
        if seen > max_bytes + slack:
            raise _too_long(max_bytes)
        return message

    return receive


def _too_long(max_bytes: int) -> Refused:
    return Refused(413, f"the upload is larger than {max_bytes / 1e6:g} MB; scale the picture down first")


def _merged(query: Choice, fields: dict[str, str]) -> Choice:
    try:
        form = Choice.model_validate(fields)
    except ValidationError as error:
        raise Refused(422, _first(error.errors())) from None
    twice = query.model_fields_set & form.model_fields_set
    if twice:
        raise Refused(422, f"{min(twice)}: given in the query and in the form; give it once")
    return query.model_copy(update=form.model_dump(exclude_unset=True))


def _first(errors: Any) -> str:
    """Return the first of pydantic's errors in one line."""
    error = errors[0]
    place = str(error["loc"][-1]) if error["loc"] else "request"
    message = str(error["msg"])
    if error["type"] == "extra_forbidden":
        return f"{_short(place)}: no such parameter; expected one of {', '.join(Choice.model_fields)}"
    given = "" if error.get("input") is None else f", got {_short(str(error['input']))!r}"
    return f"{_short(place)}: {message[0].lower()}{message[1:]}{given}"


def _short(text: str) -> str:
    return " ".join(text.split())[:80]


def _answer_in_lines(app: FastAPI) -> None:
    """Whatever goes wrong is a JSON object with one line, never a traceback."""

    def failure(status: int, message: str, headers: dict[str, str] | None = None) -> JSONResponse:
        return JSONResponse({"error": message}, status, headers)

    @app.exception_handler(Refused)
    async def refused(_: Request, error: Refused) -> JSONResponse:
        retry = None if error.retry_after is None else {"Retry-After": str(error.retry_after)}
        return failure(error.status, error.message, retry)

    @app.exception_handler(RequestValidationError)
    async def invalid(_: Request, error: RequestValidationError) -> JSONResponse:
        return failure(422, _first(error.errors()))

    @app.exception_handler(HTTPException)
    async def http(_: Request, error: HTTPException) -> JSONResponse:
        return failure(error.status_code, str(error.detail), dict(error.headers or {}))

    @app.exception_handler(ClientDisconnect)
    async def gone(_: Request, error: ClientDisconnect) -> Response:
        return Response(status_code=499)

    @app.exception_handler(Exception)
    async def unexpected(request: Request, error: Exception) -> JSONResponse:
        log.error("%s: %r", printable(request.url.path), error)
        return failure(500, "internal error; the server's log tells more")


def _request_body() -> dict[str, Any]:
    choices = Choice.model_json_schema()["properties"]
    picture = {"schema": {"type": "string", "format": "binary"}}
    form = {
        "type": "object",
        "required": ["image"],
        "properties": {"image": {"type": "string", "format": "binary"}, **choices},
        "additionalProperties": False,
    }
    return {
        "required": True,
        "content": {"multipart/form-data": {"schema": form}, "image/*": picture, "application/octet-stream": picture},
    }


def _with_schemas(app: FastAPI) -> None:
    """Add the schema of the JSON answer, which FastAPI does not see behind a plain response."""
    build = app.openapi

    def openapi() -> dict[str, Any]:
        schema = build()
        schemas = schema["components"]["schemas"]
        if "Found" not in schemas:
            described = answers.Found.model_json_schema(ref_template="#/components/schemas/{model}")
            schemas.update(described.pop("$defs"))
            schemas["Found"] = described
            for name in ("HTTPValidationError", "ValidationError"):
                schemas.pop(name, None)
        return schema

    app.openapi = openapi  # type: ignore[method-assign]
