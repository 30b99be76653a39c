"""Users, accounts, memberships: what takes access away goes through `revocation`."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.contrib.auth.admin import UserAdmin as DjangoUserAdmin
from django.contrib.auth.models import Group
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import HttpRequest

from accounts.admin.scope import SuperuserAdmin, acting
from accounts.models import DEFAULT_ACCOUNT, Account, Membership, User
from accounts.services import revocation, tokens
from realtime.core.errors import GatewayError

admin.site.unregister(Group)  # memberships say who may do what


@admin.register(User)
class UserAdmin(SuperuserAdmin, DjangoUserAdmin):
    """The stock page; deactivating, deleting and a new password close the person's sockets."""

    list_display = ("username", "is_active", "is_staff", "is_superuser", "last_login")
    list_filter = ("is_active", "is_staff", "is_superuser")
    filter_horizontal = ()
    fieldsets = (
        (None, {"fields": ("username", "password")}),
        ("Person", {"fields": ("first_name", "last_name", "email")}),
        ("Access", {"fields": ("is_active", "is_staff", "is_superuser")}),
        ("Dates", {"fields": ("last_login", "date_joined")}),
    )
    actions = ("deactivate_selected", "log_out_selected")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        principal = acting(request)
        if principal.is_superuser:
            return User.objects.all()
        if not principal.is_admin:
            return User.objects.none()
        return User.objects.in_account(principal.account)

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        # The name is the identity on every wire: renamed, its sessions would be orphans.
        return ("username", "last_login", "date_joined") if obj else ()

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        super().save_model(request, obj, form, change)
        if not change:
            # Without a membership no door opens; more than looking is another decision.
            account = Account.objects.get(slug=acting(request).account)
            Membership.objects.create(user=obj, account=account, role=Membership.Role.VIEWER)
        if change and not obj.is_active and "is_active" in form.changed_data:
            revocation.user(principal=acting(request), user=obj)
        elif change and {"is_staff", "is_superuser"} & set(form.changed_data):
            obj.disconnect()

    def delete_model(self, request: HttpRequest, obj: Any) -> None:
        revocation.delete_user(principal=acting(request), user=obj)

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> None:
        for user in queryset:
            self.delete_model(request, user)

    @admin.action(description="Log selected users out everywhere", permissions=["change"])
    def log_out_selected(self, request: HttpRequest, queryset: QuerySet[Any]) -> None:
        for user in queryset:
            tokens.revoke_all(user=user)
            self.log_change(request, user, "Logged out everywhere.")
            self.tell(request, f"Logged {user} out everywhere; the sockets are closed.")

    @admin.action(description="Deactivate selected users", permissions=["change"])
    def deactivate_selected(self, request: HttpRequest, queryset: QuerySet[Any]) -> None:
        for user in queryset:
            try:
                revocation.user(principal=acting(request), user=user)
                self.tell(request, f"Deactivated {user}; the sockets are closed.")
            except GatewayError as error:
                self.tell(request, str(error), good=False)


@admin.register(Account)
class TenantAdmin(SuperuserAdmin):
    account_path = "slug"
    list_display = ("slug", "name", "uuid", "created_at")
    readonly_fields = ("uuid", "created_at")

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        # The slug is part of every address and handle in flight.
        return ("slug", *self.readonly_fields) if obj else self.readonly_fields

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        allowed = super().has_delete_permission(request, obj)
        return allowed and not (obj and obj.slug == DEFAULT_ACCOUNT)

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> None:
        if queryset.filter(slug=DEFAULT_ACCOUNT).exists():
            raise PermissionDenied
        super().delete_queryset(request, queryset)


@admin.register(Membership)
class MembershipAdmin(SuperuserAdmin):
    list_display = ("user", "account", "role", "created_at")
    list_filter = ("role", "account")
    list_select_related = ("user", "account")

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        return ("user", "account") if obj else ()

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        made = revocation.set_role(
            principal=acting(request), user=obj.user, account=obj.account, role=obj.role
        )
        obj.pk, obj._state.adding = made.pk, False

    def delete_model(self, request: HttpRequest, obj: Any) -> None:
        revocation.remove_member(principal=acting(request), membership=obj)

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> None:
        for membership in queryset.select_related("user", "account"):
            self.delete_model(request, membership)
