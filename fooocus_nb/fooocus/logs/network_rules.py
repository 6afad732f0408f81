"""Rules for failures of the network, proxies and downloads: one part of the table in `rules`."""

from __future__ import annotations

from fooocus_nb.errors import BadConfigFile, NetworkError, StartError
from fooocus_nb.fooocus.logs._rule_builders import all_of, exception_rule, rule

__all__ = ["NETWORK", "PROXY"]

#: What a broken connection is called; the numbers are told before words in any language.
_DISCONNECTED = (
    r"(?s)^(?:\w+\.)*(?:(?:Connection(?:Reset|Aborted|Refused)|BrokenPipe|SSL\w*"
    r"|Protocol)Error\b"
    r"|timeout: |\w*Error: .*(?:Errno|WinError) -?(?:5[0134]|6[0145]|10[0134]|110|111|113"
    r"|100[56]\d|1100\d)\b"
    r"|OSError: .*(?:[Tt]imed out|reset by peer|is unreachable|No route to host))"
)
_HTTP = (
    r"(?is)^(?:[a-z_]\w*\.)*(?:\w*HTTP(?:Status)?Error|ClientResponseError|\w*RepoError"
    r"|(?:Repository|Entry|Revision)NotFoundError): \D*"
)
_MACHINE = r"(?:127\.0\.0\.1|localhost|0\.0\.0\.0|\[?::1\]?)"

#: It names a proxy's address, so it comes before what fails at an address.
PROXY = exception_rule(
    "proxy of an unknown kind",
    all_of(
        r"socks|\bproxy",
        r"unknown scheme|not supported proxy scheme|unable to determine|missing dependencies"
        r"|not installed"
        r"|invalid proxy"
        r"|unsupported|scheme",
        kinds=r"ValueError|ImportError|InvalidSchema|InvalidProxyURL|ProxySchemeUnknown"
        r"|UnsupportedProtocol|\w*ProxyError",
    ),
    StartError,
    "The environment names a proxy that the engine's packages cannot use: {what}",
    "Take ALL_PROXY and all_proxy out of the environment, or name one that begins with http:// "
    "in env=. For socks5://, the engine's Python needs the packages socksio and PySocks.",
    "ValueError: Unknown scheme for proxy URL URL('socks://127.0.0.1:1080/')",
)

NETWORK = (
    rule(
        "proxy before its own page",
        r"(?s)^ValueError: When localhost is not accessible, a shareable link must be created"
        r"|^(?:\w+\.)*\w*(?:Error|Timeout|Exception): .*?(?:host=['\"]|//|connect\w* to (?:host )?)"
        rf"{_MACHINE}",
        StartError,
        "The engine cannot reach its own web page, mostly because of a proxy.",
        "Set NO_PROXY=127.0.0.1,localhost in env=, and see that no firewall or VPN bars programs "
        "of "
        "this machine from each other.",
        "ValueError: When localhost is not accessible, a shareable link must be created.",
        raised=True,
        follows=("web",),
    ),
    exception_rule(
        "proxy refuses",
        all_of(
            r"ProxyError|Tunnel connection failed|Proxy Authentication|WRONG_VERSION_NUMBER"
            r"|cannot connect to proxy"
        ),
        NetworkError,
        "The engine could not download something: the proxy does not take the connection.",
        "Correct HTTP_PROXY and HTTPS_PROXY in env=: both mostly begin with http://, and hold user "
        "and password where the proxy wants them.",
        "requests.exceptions.ProxyError: HTTPSConnectionPool(host='huggingface.co', port=443): "
        "Max retries exceeded (Caused by ProxyError('Cannot connect to proxy.'))",
    ),
    exception_rule(
        "certificate refused",
        all_of(
            r"CERTIFICATE_VERIFY_FAILED|certificate verify failed|self[- ]signed|SSLCertVerif"
            r"|local issuer|certificate has expired|hostname mismatch"
        ),
        NetworkError,
        "The engine could not download something: it does not trust the server's certificate.",
        "Set the machine's clock right. Behind a company's proxy, name the file of its certificate "
        "with env={{'SSL_CERT_FILE': 'FILE', 'REQUESTS_CA_BUNDLE': 'FILE'}}.",
        "urllib.error.URLError: <urlopen error [SSL: CERTIFICATE_VERIFY_FAILED] certificate verify "
        "failed: unable to get local issuer certificate (_ssl.c:1007)>",
    ),
    rule(
        "download wants a login",
        rf"{_HTTP}(?P<status>401|403|451)\b|^(?:\w+\.)*GatedRepoError\b"
        r"|^OSError: .* is not (?:a local folder|a valid model identifier)",
        NetworkError,
        "The engine could not download something: the server denies it without a login.",
        "Log in there with a browser (Hugging Face: accept the model's terms; Civitai: its "
        "downloads want a token), download the file, and put it into the models folder by hand.",
        "urllib.error.HTTPError: HTTP Error 401: Unauthorized",
        raised=True,
    ),
    rule(
        "address unusable",
        r"^ValueError: unknown url type: (?!https$)(?P<address>.+)"
        r"|^(?:\w+\.)*(?:MissingSchema|InvalidSchema|InvalidURL|UnsupportedProtocol)\b",
        BadConfigFile,
        "The address of a download is none: {what}",
        "Correct it where it is named: in a preset, or at the downloads in config.txt. It begins "
        "with https://.",
        "ValueError: unknown url type: 'models/mine.safetensors'",
        raised=True,
    ),
    rule(
        "download gone",
        rf"{_HTTP}(?P<status>404|410)\b",
        NetworkError,
        "The engine could not download something: the server has no such file any more.",
        "Correct its address where it is named (a preset, or the downloads in config.txt), or put "
        "the file into the models folder by hand.",
        "requests.exceptions.HTTPError: 404 Client Error: Not Found for url: https://example.org/x",
        raised=True,
    ),
    rule(
        "download server busy",
        rf"{_HTTP}(?P<status>408|429|5\d\d)\b",
        NetworkError,
        "The engine could not download something: the server is overloaded or out of order.",
        "Start it again some minutes later, {mirror}or put the file into the models folder by "
        "hand.",
        "urllib.error.HTTPError: HTTP Error 503: Service Unavailable",
        raised=True,
    ),
    exception_rule(
        "download altered",
        all_of(
            r"\b(?:hash\w*|checksum|sha256|md5)\b.{0,80}(?:mismatch|not match|differ|expected)"
            r"|invalid hash value|Consistency check failed|file should be of size"
        ),
        NetworkError,
        "What the engine has downloaded is not what it expected: {what}",
        "Remove the file and start it again: the connection broke, or something on the way has "
        "altered it. If that does not help, {mirror}or put the file by hand where it belongs.",
        'RuntimeError: invalid hash value (expected "31e35c80", got "a5f3c1d2")',
    ),
    rule(
        "no network",
        r"^(?:\w+\.)*(?:URLError|HTTPError|ConnectionError|ConnectError|Connect(?:ion)?Timeout"
        r"|ReadTimeout"
        r"|ReadError|MaxRetryError|NewConnectionError|NameResolutionError|gaierror"
        r"|LocalEntryNotFoundError|OfflineModeIsEnabled|ChunkedEncodingError|RemoteProtocolError"
        r"|IncompleteRead|RemoteDisconnected|ContentTooShortError|BadStatusLine"
        r"|FileMetadataError)\b"
        r"|^(?:\w+\.)*\w+Error: .*(?:urlopen error|getaddrinfo failed|Name or service not known"
        r"|Temporary failure in name resolution|couldn't connect to"
        r"|(?:[Ff]ailed to|[Cc]ould not|[Uu]nable to) (?:connect to|resolve) |invalid hash value"
        r"|Cannot find the requested files in the (?:disk|local) cache)|^<?urlopen error",
        NetworkError,
        "The engine could not download something.",
        "Check the network or proxy, {mirror}or put the file into the models folder by hand.",
        "urllib.error.URLError: <urlopen error [Errno -3] Temporary failure in name resolution>",
    ),
    exception_rule(
        "download failed",
        all_of(
            r"\b(?:fail\w*|could ?n[o']t|can(?:no|')t|unable|error)\b.{0,40}\bdownload"
            r"|\bdownload\w*\b.{0,80}\bfail"
        ),
        NetworkError,
        "The engine could not download something: {what}",
        "Check the network or proxy, {mirror}or put the file by hand where it belongs.",
        "RuntimeError: Failed downloading url https://example.org/x.onnx",
    ),
    exception_rule(
        "connection broken",
        _DISCONNECTED,
        NetworkError,
        "The engine could not download something: the connection broke.",
        "Start it again: what is whole is kept. If it breaks again, {mirror}or put the file into "
        "the models folder by hand.",
        "ConnectionResetError: [Errno 104] Connection reset by peer",
        own=True,
    ),
)
