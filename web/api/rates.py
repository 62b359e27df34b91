"""The present prices for new requests."""

from http import HTTPStatus

from payments.document import timestamp
from payments.money import to_plain
from web.api.pricing import prices_now
from web.api.schemas import RateList, RateRecord
from web.http.request import Request
from web.http.responses import JsonResponse, json_response


def list_rates(request: Request) -> JsonResponse:
    """GET /api/v1/rates: the price in each currency that has one. Ages are in seconds."""
    data = [
        RateRecord(
            currency=price.currency,
            price=to_plain(price.price),
            source=", ".join(price.sources),
            age=max(int((request.now - price.fetched_at).total_seconds()), 0),
            fetched_at=timestamp(price.fetched_at),
        )
        for price in prices_now(request.settings, request.now)
    ]
    return json_response(HTTPStatus.OK, RateList(data=data))
