"""The eight processes of the line, as they are seeded (domain.md). Central's table may rename and add."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Process:
    """One process: its place in the route, names, and how often a unit may be measured again."""

    number: int
    code: str
    name_ko: str
    name_en: str
    estimated_duration_seconds: int
    retest_limit: int
    rework_allowed: bool


PROCESSES: tuple[Process, ...] = (
    Process(1, "P01_LASER_MARKING", "레이저 마킹", "Laser Marking", 60, 2, False),
    Process(2, "P02_LMA_ASSEMBLY", "LMA 조립", "LMA Assembly", 3600, 2, True),
    Process(3, "P03_SENSOR_INSPECTION", "센서 검사", "Sensor Inspection", 60, 2, True),
    Process(4, "P04_FIRMWARE_UPLOAD", "펌웨어 업로드", "Firmware Upload", 60, 2, True),
    Process(5, "P05_ROBOT_ASSEMBLY", "로봇 조립", "Robot Assembly", 3600, 2, True),
    Process(6, "P06_PERFORMANCE_TEST", "성능검사", "Performance Testing", 600, 1, True),
    Process(7, "P07_LABEL_PRINTING", "라벨 프린팅", "Label Printing", 40, 2, True),
    Process(8, "P08_PACKAGING_INSPECTION", "포장 + 외관검사", "Packaging + Visual Inspection", 300, 2, True),
)

BY_CODE: dict[str, Process] = {process.code: process for process in PROCESSES}
BY_NUMBER: dict[int, Process] = {process.number: process for process in PROCESSES}
