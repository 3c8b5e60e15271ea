"""
How restbridge is packaged.
"""

from pathlib import Path

from setuptools import find_packages, setup

here = Path(__file__).parent
version: dict[str, str] = {}
exec((here / "restbridge" / "_version.py").read_text("utf-8"), version)  # noqa: S102  # the one place that says it

setup(
    name="restbridge",
    version=version["__version__"],
    description="A REST API for every XMPP server",
    long_description=(here / "README.md").read_text("utf-8"),
    long_description_content_type="text/markdown",
    license="MIT",
    license_files=["LICENSE", "restbridge/openapi/static/LICENSE", "restbridge/openapi/static/NOTICE"],
    python_requires=">=3.11",
    # Said out loud, it lets an editable install put this folder on the path, where Twisted finds the drop-in.
    package_dir={"": "."},
    # twisted.plugins is Twisted's to initialise: the drop-in goes beside its own, without an __init__.
    packages=[*find_packages(include=["restbridge", "restbridge.*"]), "twisted.plugins"],
    package_data={"restbridge": ["py.typed"], "restbridge.openapi": ["static/*"]},
    install_requires=[
        "argon2-cffi >= 23.1",
        "attrs >= 23.1",
        "cbor2 >= 6.0",
        "cryptography >= 43",
        "idna >= 3.4",
        "klein >= 24.8",
        "msgspec >= 0.19",
        "prometheus-client >= 0.22",
        "pyopenssl >= 24.1",
        "scramp >= 1.5",
        "service-identity >= 24.1",
        "treq >= 24.9",
        "twisted[tls] >= 24.11",
        "wokkel >= 18.0",
    ],
    extras_require={
        "docs": ["furo >= 2025.9", "myst-parser >= 5", "pydoctor >= 25.4", "sphinx >= 8.2"],
        "oauth2": ["joserfc >= 1.6"],
        "postgresql": ["psycopg[binary] >= 3.2"],
        "test": [
            "aiohttp >= 3.12",
            "authlib >= 1.9",
            "flask >= 3.1",
            "hypothesis >= 6.100",
            "joserfc >= 1.6",
            "jsonschema >= 4.20",
            "markdown-it-py >= 3",
            "openapi-spec-validator >= 0.8",
            "psycopg[binary] >= 3.2",
            "pyyaml >= 6.0",
            "requests >= 2.32",
            "schemathesis >= 4.0",
            "selenium >= 4.20",
            "slixmpp >= 1.10",
            "standardwebhooks >= 1.0",
        ],
    },
    entry_points={"console_scripts": ["restbridge = restbridge.command:main"]},
    classifiers=[
        "Framework :: Twisted",
        "License :: OSI Approved :: MIT License",
        "Operating System :: POSIX",
        "Programming Language :: Python :: 3.11",
        "Programming Language :: Python :: 3.12",
        "Programming Language :: Python :: 3.13",
        "Topic :: Communications :: Chat",
        "Topic :: Internet :: WWW/HTTP",
        "Typing :: Typed",
    ],
)
