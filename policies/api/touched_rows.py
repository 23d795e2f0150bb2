"""How REST tells what a release would touch."""

from typing import Any

from rest_framework import serializers


class TouchedServiceRow(serializers.Serializer[Any]):
    slug = serializers.CharField()
    name = serializers.CharField()
    endpoints = serializers.IntegerField()
    shown = serializers.ListField(child=serializers.CharField(), help_text="Some of them, in words.")


class OtherRow(serializers.Serializer[Any]):
    policy = serializers.CharField()
    name = serializers.CharField()
    service = serializers.CharField()
    effect = serializers.CharField(help_text="Whether it replaces or removes the rule.")


class TouchedRuleRow(serializers.Serializer[Any]):
    kind = serializers.CharField()
    name = serializers.CharField()
    mandatory = serializers.BooleanField()
    others = OtherRow(many=True, help_text="Policies that are live there and have a rule of that kind and name.")


class TouchedRow(serializers.Serializer[Any]):
    environment = serializers.CharField()
    words = serializers.CharField(help_text="312 endpoints in 14 services.")
    endpoints = serializers.IntegerField()
    services = serializers.IntegerField()
    listed = TouchedServiceRow(many=True)
    unlisted = serializers.IntegerField(help_text="How many services are only counted.")
    rules = TouchedRuleRow(many=True)
    unread = serializers.IntegerField(help_text="How many policies were not looked at for `rules`.")


class Touches(serializers.Serializer[Any]):
    environments = TouchedRow(many=True)
