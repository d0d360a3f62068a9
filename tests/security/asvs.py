"""OWASP ASVS 5.0.0, for the table of docs/security.md: chapter 7, and what chapter 3 says of cookies and requests.

The requirements are in our own words. ``test_table.py`` checks that each test exists, and that none is missing.
"""

from __future__ import annotations

from typing import NamedTuple

PROVIDER = "http/test_provider_sessions.py"


class Requirement(NamedTuple):
    """One requirement, by what it is met, and what is left to the site."""

    number: str
    level: int
    gist: str
    #: What this package does for it; empty if it is not the business of a session layer.
    package: str
    #: What the site has to do; empty if nothing.
    site: str
    #: The tests that hold what the package does, as ``file::name`` below ``tests/``.
    tests: tuple[str, ...]


REQUIREMENTS = [
    # Chapter 7: session management.
    Requirement(
        "7.1.1",
        2,
        "It is documented how long sessions last, and why longer than NIST SP 800-63B recommends",
        "Two options set it, and [a page](howto/lifetime.md) compares the defaults with NIST's figures",
        "Choose, and write down why",
        (
            "project/test_reference.py::test_an_option_shows_its_type_its_default_and_when_to_change_it",
            "http/test_expiry.py::test_shorter_settings_end_sessions_that_are_there",
        ),
    ),
    Requirement(
        "7.1.2",
        2,
        "It is documented how many sessions a user may have, and what happens at one more",
        "`max_sessions`: one login more ends the oldest, with the event `displaced`",
        "Choose, and write it down",
        ("http/test_devices.py::test_one_login_more_than_max_sessions_ends_the_oldest",),
    ),
    Requirement(
        "7.1.3",
        2,
        "It is documented how sessions are coordinated with those of identity providers",
        "[A page](howto/provider-logout.md) shows what a logout at the provider ends",
        "Write down your providers, and their timeouts",
        (f"{PROVIDER}::test_a_logout_at_the_provider_ends_the_logins_of_that_provider_session_only",),
    ),
    Requirement(
        "7.2.1",
        1,
        "Tokens are verified by a trusted service, not in the browser",
        "The server checks the signature and looks the token up in the store, in each request that uses the session",
        "",
        (
            "http/test_cookies_in.py::test_a_token_without_our_signature_opens_nothing",
            "security/test_ids.py::test_an_id_whose_record_is_gone_is_not_used_again",
        ),
    ),
    Requirement(
        "7.2.2",
        1,
        "Tokens are generated for each session; static keys are not used as tokens",
        "Each session has a token of its own, which only the server issues",
        "",
        (
            "security/test_ids.py::test_every_session_has_a_token_of_its_own",
            "security/test_ids.py::test_a_made_up_id_is_never_adopted",
        ),
    ),
    Requirement(
        "7.2.3",
        1,
        "Tokens are unique, and have at least 128 bits from a secure random generator",
        "256 bits of `os.urandom`; a token that is in use is drawn again",
        "",
        (
            "security/test_ids.py::test_ten_thousand_tokens_have_nothing_in_common",
            "security/test_ids.py::test_a_token_that_is_in_use_is_drawn_again",
        ),
    ),
    Requirement(
        "7.2.4",
        1,
        "A login, and a repeated one, gives a new token and ends the old one",
        "`login()` and `confirm()` do. With `cookie://` a copy of the old cookie stays valid",
        "Call them",
        (
            "security/test_ids.py::test_the_token_from_before_a_login_opens_nothing_after_it",
            "http/test_fresh.py::test_the_token_from_before_a_confirmation_opens_nothing",
        ),
    ),
    Requirement(
        "7.3.1",
        2,
        "Sessions end after a time without activity",
        "`idle_timeout`, which the server enforces",
        "Choose it",
        ("http/test_expiry.py::test_a_session_dies_idle",),
    ),
    Requirement(
        "7.3.2",
        2,
        "Sessions end after a maximum time, whatever the activity",
        "`absolute_timeout`, counted from the login",
        "Choose it",
        (
            "http/test_expiry.py::test_an_active_session_dies_at_the_absolute_timeout",
            "security/test_expiry.py::test_no_reading_moves_the_absolute_limit",
        ),
    ),
    Requirement(
        "7.4.1",
        1,
        "A session that was ended, or has expired, cannot be used any more",
        "`logout()` deletes the record before it returns. With `cookie://`, `validate` ends a copied cookie",
        "Log out with `logout()`",
        (
            "security/test_ids.py::test_a_logout_deletes_the_record",
            "security/test_logout.py::test_a_slow_request_does_not_bring_a_session_back",
            "security/test_logout.py::test_a_copied_sealed_cookie_ends_with_validate_or_at_the_absolute_limit",
        ),
    ),
    Requirement(
        "7.4.2",
        1,
        "All sessions of a user end when the account is disabled or deleted",
        "`sessions.revoke_all(user)`, or `validate` at the next request",
        "Call it, or answer `validate` with `False`",
        (
            "http/test_administration.py::test_revoke_all_ends_them_all_and_a_later_login_lives",
            "http/test_validate.py::test_false_ends_the_session_in_every_browser_and_removes_the_cookie",
        ),
    ),
    Requirement(
        "7.4.3",
        2,
        "After a change of the password or another factor, the user can end all other sessions",
        "`sessions.revoke_all(user, keep=session)`",
        "Offer it",
        (
            "security/test_logout.py::test_a_changed_password_can_end_every_other_session",
            "project/test_howto.py::test_a_new_password_ends_the_other_sessions",
        ),
    ),
    Requirement("7.4.4", 2, "Each page for logged-in users has a visible logout", "", "Show the button", ()),
    Requirement(
        "7.4.5",
        2,
        "Administrators can end the sessions of one user, and of all",
        "`sessions.revoke`, `revoke_all`, `revoke_everyone`; the same from [the shell](reference/command-line.md)",
        "Restrict who may",
        (
            "http/test_administration.py::test_revoke_everyone_ends_each_session_of_this_cookie_name",
            "http/test_command_line.py::test_revoke_user_ends_the_sessions_of_that_user_only",
        ),
    ),
    Requirement(
        "7.5.1",
        2,
        "The user has to authenticate again before a change of a password, an email address or a factor",
        "`redirect_unless_fresh()` and `confirm()`",
        "Call them, and check the password or the factor",
        (
            "http/test_fresh.py::test_a_login_is_fresh_for_a_time_and_a_confirmation_makes_it_fresh_again",
            "project/test_howto.py::test_the_password_is_asked_for_again_after_a_quarter_of_an_hour",
        ),
    ),
    Requirement(
        "7.5.2",
        2,
        "Users can see their sessions, and end each of them after they authenticated again",
        "`sessions.of(user)` and `sessions.revoke(user, handle)`, after `redirect_unless_fresh()`; not with `cookie://`",
        "Show the list; the demo does",
        (
            "http/test_administration.py::test_of_lists_a_users_sessions_newest_login_first",
            "security/test_logout.py::test_no_user_ends_the_session_of_another",
            "demo/test_races.py::test_a_login_of_long_ago_signs_no_device_out_until_the_password_is_given_again",
        ),
    ),
    Requirement(
        "7.5.3",
        3,
        "Very sensitive operations need another factor, or a second verification",
        "`redirect_unless_fresh(request, method=…)` accepts only that factor",
        "Check the factor",
        ("http/test_fresh.py::test_a_method_that_is_asked_for_must_have_been_used",),
    ),
    Requirement(
        "7.6.1",
        2,
        "Sessions here and at the identity provider end as documented, also by the age of the authentication",
        "`sessions.revoke_provider_session()`, and `absolute_timeout` for the time between two authentications",
        "Check the provider's logout token; write down the times",
        (
            f"{PROVIDER}::test_a_logout_at_the_provider_ends_a_login_of_a_request_that_is_still_running",
            "http/test_expiry.py::test_a_login_starts_the_absolute_timeout_again_and_a_rotation_does_not",
        ),
    ),
    Requirement(
        "7.6.2",
        2,
        "No session begins without an action of the user",
        "A login needs your call of `login()`. `check_csrf()` keeps other sites from sending the login form",
        "Let the user click before a redirect to the provider",
        (
            "security/test_cross_site.py::test_no_other_site_logs_a_visitor_in_as_somebody_else",
            "system/providers/test_openid.py::test_the_answer_for_one_visitor_signs_no_other_visitor_in",
        ),
    ),
    # Chapter 3: cookies.
    Requirement(
        "3.3.1",
        1,
        "Cookies are `Secure`, and their names begin with `__Host-` or `__Secure-`",
        "Over https, and always with `cookie_secure=True`",
        "Serve https only",
        (
            "security/test_isolation.py::test_the_cookie_is_safe_with_no_settings",
            "unit/cookies/test_cookie.py::test_a_cookie_is_written_and_removed_with_the_same_attributes",
        ),
    ),
    Requirement(
        "3.3.2",
        2,
        "`SameSite` fits the purpose of the cookie",
        "`Lax`; `cookie_samesite` changes it, and `None` only with `Secure`",
        "",
        (
            "security/test_isolation.py::test_the_cookie_is_safe_with_no_settings",
            "unit/cookies/test_cookie.py::test_what_only_secure_cookies_have_wants_secure",
        ),
    ),
    Requirement(
        "3.3.3",
        2,
        "Names begin with `__Host-`, unless the cookie is for other hosts too",
        "The default over https; `__Secure-` only with `cookie_domain` or another path",
        "Set no `cookie_domain` without need",
        (
            "unit/cookies/test_cookie.py::test_a_host_cookie_has_neither_path_nor_domain",
            "security/test_isolation.py::test_the_cookie_is_safe_with_no_settings",
        ),
    ),
    Requirement(
        "3.3.4",
        2,
        "Scripts cannot read the token, which goes to the browser only in `Set-Cookie`",
        "Always `HttpOnly`. No page, log line or event contains the token; a CSRF token is derived from it",
        'Keep `transport="cookie"` for browsers: with `"header"`, the token is for other clients',
        (
            "unit/cookies/test_cookie.py::test_a_cookie_is_written_and_removed_with_the_same_attributes",
            "http/test_secrecy.py::test_no_store_call_log_line_event_or_repr_has_the_token",
            "security/test_secrets.py::test_no_page_of_the_demo_shows_a_token_or_the_secret",
        ),
    ),
    Requirement(
        "3.3.5",
        3,
        "Name and value of a cookie have at most 4,096 bytes",
        "A token is short; `cookie://` splits a session into cookies of that size, and refuses what is too large",
        "",
        ("unit/cookies/test_chunks.py::test_each_cookie_stays_within_what_browsers_take",),
    ),
    # Chapter 3: headers and requests. 3.4.3 to 3.4.8 and 3.5.5 to 3.5.7 do not concern sessions.
    Requirement(
        "3.4.1",
        1,
        "Each response has `Strict-Transport-Security`",
        "",
        "Let the server or the proxy send it",
        (),
    ),
    Requirement(
        "3.4.2",
        1,
        "CORS allows only origins that are trusted",
        "",
        "[A page](howto/other-origin.md) shows it",
        ("project/test_howto.py::test_a_front_end_on_another_origin_logs_in_and_other_origins_do_not",),
    ),
    Requirement(
        "3.5.1",
        1,
        "A request that a page of another site can send is checked before it changes something",
        "`check_csrf()` or `protect_from_csrf()`, by `Sec-Fetch-Site` and `Origin`, or by a token",
        "Call it, on the login form too",
        (
            "unit/helpers/test_origin.py::test_another_site_is_refused_even_with_a_valid_token",
            "unit/helpers/test_origin.py::test_what_does_not_say_where_it_comes_from_needs_a_token",
            "security/test_cross_site.py::test_no_image_and_no_form_of_another_site_logs_a_visitor_out",
        ),
    ),
    Requirement(
        "3.5.2",
        1,
        "What relies on a CORS preflight cannot be reached without one",
        "`check_csrf()` does not rely on preflights: it refuses another site for any content type. `require_login` "
        "lets "
        "preflights through, without the body of the response",
        "Change nothing in answer to `OPTIONS`",
        (
            "unit/helpers/test_origin.py::test_nothing_a_client_sends_makes_an_exception_or_opens_the_door",
            "unit/helpers/test_apps.py::test_a_preflight_passes_the_door_and_brings_the_headers_and_no_body",
        ),
    ),
    Requirement(
        "3.5.3",
        1,
        "Changes use methods such as POST, not GET, HEAD or OPTIONS",
        "`check_csrf()` checks every method but these three",
        "Change nothing on GET",
        (
            "unit/helpers/test_csrf.py::test_every_other_method_needs_a_token",
            "demo/test_visit.py::test_the_logout_cannot_be_a_link",
        ),
    ),
    Requirement(
        "3.5.4",
        2,
        "Applications that are separate have separate host names",
        "`__Host-` keeps the cookie on one host. [On a shared host](howto/several-sites.md), `cookie_name` separates "
        "the sessions, but not the pages",
        "Give each application a host name",
        ("security/test_sealing.py::test_two_middlewares_over_one_store_share_no_session",),
    ),
    Requirement(
        "3.5.8",
        3,
        "Other sites can embed resources for logged-in users only where that is intended",
        "`SameSite=Lax`: another site's image, script or frame is requested without the cookie",
        "Send `Cross-Origin-Resource-Policy`, against other hosts of your domain",
        ("security/test_isolation.py::test_the_cookie_is_safe_with_no_settings",),
    ),
    Requirement(
        "3.7.2",
        2,
        "Automatic redirects lead only to allowed destinations",
        "`redirect_if_anonymous()` and `next_url()` stay on the site",
        "",
        ("security/test_helpers.py::test_no_redirect_leads_off_the_site",),
    ),
]


def rows() -> str:
    """Return the rows of the table."""
    return "".join(_row(requirement) for requirement in REQUIREMENTS)


def _row(requirement: Requirement) -> str:
    number, level, gist, package, site, tests = requirement
    names = "<br>".join(f"`{test.partition('::')[2]}`" for test in tests)
    cells = [number, str(level), gist, package or "not a task of a session layer", site or "nothing", names or "none"]
    return "| " + " | ".join(cells) + " |\n"
