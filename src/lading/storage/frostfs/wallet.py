"""The key that requests are signed with, out of a wallet in the format of NEP-6, encrypted by NEP-2."""

from __future__ import annotations

import base64
import functools
import hashlib
import json
import unicodedata
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from lading.storage.frostfs.identifiers import base58, from_base58_checked, owner_id, twice_hashed
from lading.storage.frostfs.signing import Key

_SCRYPT = {"n": 16384, "r": 8, "p": 8}
_SCRYPT_BYTES = 512 * 1024**2
_NEP2 = b"\x01\x42\xe0"


class WalletError(Exception):
    """The wallet gives no key; `parameter` of it is to blame. No secret is in the text."""

    def __init__(self, parameter: str, text: str) -> None:
        super().__init__(text)
        self.parameter = parameter


@functools.lru_cache(maxsize=8)
def load(path: str, password: str, address: str = "") -> Key:
    """The key of the account at `address`, or else of the wallet's change account. Raises `WalletError`.

    Takes a third of a second, so it is kept for processes that are forked later.
    """
    try:
        with open(path, encoding="utf-8-sig") as file:
            wallet = json.load(file)
    except OSError as error:
        raise WalletError("path", f"{path}: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise WalletError("path", f"{path} is no wallet: it is not JSON") from error
    accounts = wallet.get("accounts") if isinstance(wallet, dict) else None
    if not isinstance(accounts, list) or not all(isinstance(each, dict) for each in accounts):
        raise WalletError("path", f"{path} is no wallet: it has no accounts")
    account = _account(accounts, path, address)
    encrypted = account.get("key")
    if not isinstance(encrypted, str) or not encrypted:
        raise WalletError("path", f"{path}: account {account.get('address')} has no key")
    scrypt = wallet.get("scrypt") or {}
    if not isinstance(scrypt, dict):
        raise WalletError("path", f"{path} is no wallet: scrypt is no mapping")
    parameters = {**_SCRYPT, **scrypt}
    try:
        return decrypt(encrypted, password, parameters["n"], parameters["r"], parameters["p"])
    except (ValueError, TypeError) as error:
        raise WalletError("path", f"{path}: account {account.get('address')}: {error}") from error


def decrypt(encrypted: str, password: str, n: int = 16384, r: int = 8, p: int = 8) -> Key:
    """Raises `WalletError` for a wrong password, `ValueError` for what is no key of NEP-2."""
    data = from_base58_checked(encrypted)
    if len(data) != 39 or not data.startswith(_NEP2):
        raise ValueError("its key is not in the format of NEP-2")
    check, ciphertext = data[3:7], data[7:]
    secret = unicodedata.normalize("NFC", password).encode()
    derived = hashlib.scrypt(secret, salt=check, n=n, r=r, p=p, maxmem=_SCRYPT_BYTES, dklen=64)
    decryptor = Cipher(algorithms.AES(derived[32:]), modes.ECB()).decryptor()  # noqa: S305  as NEP-2 has it
    decrypted = decryptor.update(ciphertext) + decryptor.finalize()
    private = int.from_bytes(decrypted, "big") ^ int.from_bytes(derived[:32], "big")
    try:
        key = Key(ec.derive_private_key(private, ec.SECP256R1()))
    except ValueError as error:
        raise WalletError("password", "does not open the wallet") from error
    if twice_hashed(base58(owner_id(key.public)).encode()) != check:
        raise WalletError("password", "does not open the wallet")
    return key


def _account(accounts: list[dict[str, Any]], path: str, address: str) -> dict[str, Any]:
    if address:
        try:
            known = len(from_base58_checked(address)) == 21
        except ValueError:
            known = False
        if not known:
            raise WalletError("address", "invalid address")
        for account in accounts:
            if account.get("address") == address:
                return account
        raise WalletError("address", f"{path} has no account {address}")
    simple = [account for account in accounts if _is_simple(account)]
    if not simple:
        raise WalletError("path", f"{path} has no account of a single key")
    return next((each for each in simple if each.get("isDefault", each.get("isdefault"))), simple[0])


def _is_simple(account: dict[str, Any]) -> bool:
    """Whether one signature speaks for the account."""
    contract = account.get("contract")
    try:
        script = base64.b64decode((contract or {}).get("script") or "")
    except (ValueError, AttributeError, TypeError):
        return False
    return len(script) == 40 and script.startswith(b"\x0c\x21") and script.endswith(b"\x41\x56\xe7\xb3\x27")
