"""What a network will cost on a device, without a search."""

from fastapi import APIRouter

from api.dependencies import ReadSession, SettingsOf
from api.estimate_schemas import EstimateDocument, EstimateIn
from api.estimating import estimate

router = APIRouter(prefix="/v1/estimates", tags=["estimates"])


@router.post("")
def post_estimate(asked: EstimateIn, session: ReadSession, settings: SettingsOf) -> EstimateDocument:
    """One network on one device: latency layer by layer, roofline and waterline, memory, and energy where known."""
    return estimate(session, settings, asked)
