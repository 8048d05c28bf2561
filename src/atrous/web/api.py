"""Routes of the HTTP interface."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Annotated, Any, TypeVar

from fastapi import FastAPI, Query, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from pydantic import BaseModel, ValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from .._printable import printable
from .._provenance import own_version
from ..labelmap import display_name, label_png, overlay_jpeg, overlay_palette, png_bytes
from ..segmenter import Segmentation
from .config import ServerSettings
from .errors import RequestError
from .queue import WorkQueue
from .request_body import File, read_body, short
from .schemas import (
    Choice,
    ClassName,
    CrfRequest,
    CrfResult,
    Error,
    Found,
    Health,
    LabelMap,
    NewSession,
    hex_color,
)
from .service import Service, Session, Sessions, presets

log = logging.getLogger("atrous.web")
Model = TypeVar("Model", bound=BaseModel)

_ERRORS: dict[int | str, dict[str, Any]] = {
    status: {"model": Error, "description": description}
    for status, description in {
        400: "The body cannot be parsed.",
        403: "Not from this page or host; see --origin.",
        404: "No such session.",
        408: "The upload took too long.",
        413: "Too many bytes or pixels.",
        415: "Not an image.",
        422: "A parameter or the image is invalid.",
        429: "The queue is full; see Retry-After.",
        503: "The server is stopping, or cannot compute this now.",
    }.items()
}
_BINARY = {"type": "string", "format": "binary"}
_FORMATS: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "The segmentation in the chosen format.",
        "content": {
            "image/png": {"schema": _BINARY},
            "image/jpeg": {"schema": _BINARY},
            "application/json": {"schema": {"$ref": "#/components/schemas/Found"}},
        },
    },
    **_ERRORS,
}
_GIVEN = {
    "mask": {
        **_BINARY,
        "description": "PNG of the image's size: ids with 255 for unknown, 0 and 255, or a soft matte.",
    },
    "probabilities": {**_BINARY, "description": ".npy of floats, (C, H, W) or (H, W, C)."},
    "strokes": {"type": "string", "description": "JSON of a LabelMap of the image's size."},
}


@dataclass(frozen=True)
class Inputs:
    """Files, strokes and parameters of a request."""

    files: dict[str, File]
    strokes: LabelMap | None
    choice: Choice

    @property
    def given(self) -> list[str]:
        """What came with the image."""
        return [name for name in _GIVEN if name in self.files or (name == "strokes" and self.strokes is not None)]

    def check(self) -> None:
        """Raise RequestError unless there is an image, and at most one thing with it."""
        if "image" not in self.files:
            raise RequestError(422, "image: missing; send the image as the form's file 'image', or as the body")
        if len(self.given) > 1:
            raise RequestError(422, f"{' and '.join(self.given)}: given together; send one of them")

    def file(self, name: str) -> tuple[bytes, str]:
        """Return a file's content, and its name by the client."""
        return self.files[name].content(), self.files[name].name


def _body(required: bool, **files: Any) -> dict[str, Any]:
    """Return the OpenAPI description of a body that `read_body` parses."""
    properties = {"image": _BINARY, **files, **Choice.model_json_schema()["properties"]}
    form = {"type": "object", "required": ["image"], "properties": properties, "additionalProperties": False}
    content: dict[str, Any] = {"multipart/form-data": {"schema": form}}
    if not required:
        content |= {"image/*": {"schema": _BINARY}, "application/octet-stream": {"schema": _BINARY}}
    return {"requestBody": {"required": True, "content": content}}


def create_api(service: Service, work: WorkQueue, settings: ServerSettings, sessions: Sessions) -> FastAPI:
    """Return the HTTP interface; its schema is at /api/openapi.json."""
    app = FastAPI(
        title="atrous",
        version=own_version(),
        description="Semantic segmentation: images to masks, sharp at the edges.",
        openapi_url="/api/openapi.json",
        docs_url=None,  # FastAPI's pages load their scripts from elsewhere
        redoc_url=None,
        redirect_slashes=False,
    )
    _report_errors(app)

    @app.get("/api/health")
    async def health() -> Health:
        """Return the version, the model, the limits and the queue's length."""
        return Health(
            status="ok",
            version=own_version(),
            model=service.model,
            classes=list(service.metadata.classes),
            titles=[display_name(name) for name in service.metadata.classes],
            presets=presets(),
            running=work.running,
            waiting=work.waiting,
            queue=work.limit,
            sessions=len(sessions),
            max_megapixels=settings.max_megapixels,
            max_megabytes=settings.max_megabytes,
        )

    async def computed(request: Request, query: Choice, compute: Callable[[Inputs, float], Response]) -> Response:
        """Read a request's image and what is given with it, and answer with what `compute` makes of them."""
        work.check_room()
        async with read_body(request) as (files, fields):
            text = fields.pop("strokes", None)
            strokes = None if text is None else _parsed(LabelMap, "strokes", text)
            inputs = Inputs(files, strokes, _merged(query, fields))
            inputs.check()
            return await _answer(request, work.run(lambda: compute(inputs, time.perf_counter())))

    def start_session(inputs: Inputs) -> Session:
        image = service.read_image(*inputs.file("image"))
        confidence = inputs.choice.confidence
        if inputs.strokes is not None:
            labels = inputs.strokes.array("strokes", settings.max_pixels)
            return service.session_of_labels(image, labels, "strokes", confidence or 0.9)
        if "probabilities" in inputs.files:
            return service.session_of_planes(image, *inputs.file("probabilities"))
        if "mask" in inputs.files:
            return service.session_of_mask(image, *inputs.file("mask"), confidence or 0.7)
        return service.session(image)

    @app.post("/api/segment", response_class=Response, responses=_FORMATS, openapi_extra=_body(False))
    async def segment(request: Request, query: Annotated[Choice, Query()]) -> Response:
        """Segment an image: the body is the image, or a form with the file `image` or `file`."""

        def compute(inputs: Inputs, start: float) -> Response:
            choice = inputs.choice
            parameters = None if choice.crf is False else choice.parameters(service.parameters)
            result = service.segment(service.read_image(*inputs.file("image")), parameters)
            return _encoded(result, choice, service.model, parameters, start)

        return await computed(request, query, compute)

    @app.post("/api/refine", response_class=Response, responses=_FORMATS, openapi_extra=_body(True, **_GIVEN))
    async def refine(request: Request, query: Annotated[Choice, Query()]) -> Response:
        """Run the CRF on a form's `image` and one of its `mask`, `probabilities` and `strokes`."""

        def compute(inputs: Inputs, start: float) -> Response:
            if not inputs.given:
                raise RequestError(422, "mask: missing; send a mask, probabilities or strokes with the image")
            if inputs.choice.crf is False:
                raise RequestError(422, "crf: expected true; without the CRF there is nothing to compute")
            parameters = inputs.choice.parameters(service.parameters)
            result = service.run_crf(start_session(inputs), parameters)
            return _encoded(result, inputs.choice, service.model, parameters, start)

        return await computed(request, query, compute)

    @app.post("/api/sessions", response_model=NewSession, responses=_ERRORS, openapi_extra=_body(False, **_GIVEN))
    async def open_session(request: Request, query: Annotated[Choice, Query()]) -> Response:
        """Store an image and its scores: the network's, or those of a form's `mask`, `probabilities` or `strokes`."""

        def compute(inputs: Inputs, start: float) -> Response:
            session = start_session(inputs)
            height, width, _ = session.image.shape
            colors, vivid = session.palette, overlay_palette(session.palette).tolist()
            classes = [
                ClassName(name=name, title=display_name(name), color=hex_color(color), overlay=hex_color(overlay))
                for name, color, overlay in zip(session.classes, colors, vivid, strict=False)
            ]
            opened = NewSession.model_construct(
                id=sessions.put(session),
                width=width,
                height=height,
                model=service.model,
                classes=classes,
                crf=service.parameters,
                before=LabelMap.of(session.before),
                expires=settings.session_seconds,
                seconds=round(time.perf_counter() - start, 3),
            )
            return _json(opened)

        return await computed(request, query, compute)

    @app.get("/api/sessions/{key}", status_code=204, responses=_ERRORS)
    async def use_session(key: str) -> None:
        """Keep a session for another while."""
        sessions.get(key)

    @app.post("/api/sessions/{key}/crf", response_model=CrfResult, responses=_ERRORS)
    async def run_crf(request: Request, key: str, choice: CrfRequest) -> Response:
        """Run the CRF on a session's scores."""
        session = sessions.get(key)

        def compute() -> Response:
            start = time.perf_counter()
            result = service.run_crf(
                session,
                choice.parameters(service.parameters),
                max_side=choice.max_side,
                strokes=None if choice.strokes is None else choice.strokes.array("strokes", settings.max_pixels),
                confidence=choice.confidence,
                use_scores=choice.use_scores,
            )
            after, seconds = LabelMap.of(result.labels), round(time.perf_counter() - start, 3)
            return _json(CrfResult.model_construct(after=after, reduction=result.reduction, seconds=seconds))

        return await _answer(request, work.run(compute))

    # Browsers send a page's last request by POST.
    @app.post("/api/sessions/{key}/close", status_code=204, responses=_ERRORS)
    @app.delete("/api/sessions/{key}", status_code=204, responses=_ERRORS)
    async def close_session(key: str) -> None:
        """Delete a session."""
        sessions.close(key)

    _add_schema(app, Found)
    return app


def _json(model: BaseModel) -> Response:
    return Response(model.model_dump_json(), media_type="application/json")


def _encoded(result: Segmentation, choice: Choice, model: str, parameters: Any, start: float) -> Response:
    if choice.format == "json":
        return _json(Found.of(result, model, parameters, time.perf_counter() - start))
    if choice.format == "cutout":
        return Response(png_bytes(result.cutout()), media_type="image/png")
    if choice.format == "overlay":
        return Response(overlay_jpeg(result.overlay()), media_type="image/jpeg")
    return Response(label_png(result.labels, result.palette), media_type="image/png")


async def _answer(request: Request, working: Awaitable[Response]) -> Response:
    """Await the result; a client that disconnects before its turn leaves the queue."""
    result = asyncio.ensure_future(working)
    gone = asyncio.ensure_future(_disconnected(request))
    try:
        await asyncio.wait([result, gone], return_when=asyncio.FIRST_COMPLETED)
        if not result.done():
            result.cancel()
            with suppress(asyncio.CancelledError):
                await result
            return Response(status_code=499)  # nobody reads it
        return result.result()
    finally:
        gone.cancel()


async def _disconnected(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


def _merged(query: Choice, fields: dict[str, str]) -> Choice:
    try:
        form = Choice.model_validate(fields)
    except ValidationError as error:
        raise RequestError(422, _first(error.errors())) from None
    if twice := query.model_fields_set & form.model_fields_set:
        raise RequestError(422, f"{min(twice)}: given in the query and in the form; give it once")
    return query.model_copy(update=form.model_dump(exclude_unset=True))


def _parsed(model: type[Model], name: str, text: str) -> Model:
    try:
        return model.model_validate_json(text)
    except ValidationError as error:
        raise RequestError(422, f"{name}: {_first(error.errors())}") from None


def _first(errors: Any) -> str:
    """Return the first of pydantic's errors in one line."""
    error = errors[0]
    place = short(str(error["loc"][-1])) if error["loc"] else "request"
    if error["type"] == "extra_forbidden":
        return f"{place}: no such parameter; expected one of {', '.join(Choice.model_fields)}"
    if error["type"] == "json_invalid":
        return "request: expected JSON"
    message = short(str(error["msg"]))
    given = "" if error.get("input") is None else f", got {short(str(error['input'])[:200])!r}"
    return f"{place}: {message[:1].lower()}{message[1:]}{given}"


def _report_errors(app: FastAPI) -> None:
    """Answer every error by a JSON object with one line."""

    @app.exception_handler(RequestValidationError)
    async def invalid(_: Request, error: RequestValidationError) -> JSONResponse:
        return JSONResponse({"error": _first(error.errors())}, 422)

    @app.exception_handler(HTTPException)
    async def http(request: Request, error: HTTPException) -> JSONResponse:
        message = str(error.detail)
        if error.status_code == 405:
            message = f"{request.method[:20]}: not here; expected {(error.headers or {}).get('Allow', 'GET, HEAD')}"
        elif error.status_code == 404 and not isinstance(error, RequestError):
            message = "no such address; expected / for the page, /docs or /api/segment"
        return JSONResponse({"error": message}, error.status_code, error.headers)

    @app.exception_handler(ClientDisconnect)
    async def gone(_: Request, error: ClientDisconnect) -> Response:
        return Response(status_code=499)

    @app.exception_handler(Exception)
    async def unexpected(request: Request, error: Exception) -> JSONResponse:
        log.error("%s: %r", printable(request.url.path), error)
        return JSONResponse({"error": "internal error; the server's log has more"}, 500)


def _add_schema(app: FastAPI, model: type[BaseModel]) -> None:
    """Add a model to the OpenAPI schema, which FastAPI does not see behind a plain response."""
    build = app.openapi

    def openapi() -> dict[str, Any]:
        models = build()["components"]["schemas"]
        if model.__name__ not in models:
            described = model.model_json_schema(ref_template="#/components/schemas/{model}")
            models |= described.pop("$defs") | {model.__name__: described}
            for name in ("HTTPValidationError", "ValidationError"):
                models.pop(name, None)
        return build()

    app.openapi = openapi  # type: ignore[method-assign]
